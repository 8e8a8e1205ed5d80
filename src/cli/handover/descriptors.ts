const variable = 'CAIRN_HANDOVER'

/** Descriptors with which a successor starts: the way to the process before it, and the device. */
export const channelFd = 3
export const deviceFd = 4
export const handoverEnvironment = { [variable]: 'yes' }

/** Whether this process is to take a mount over; true once. */
export function isSuccessor(): boolean {
  const is = process.env[variable] !== undefined
  Reflect.deleteProperty(process.env, variable)
  return is
}
