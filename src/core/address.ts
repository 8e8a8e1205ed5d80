/** A TCP address as people write it: `host:port`, `[v6]:port`. */
export interface Address {
  /** Name or IP address, without brackets. */
  readonly host: string
  readonly port: number
}

/** Names as DNS has them (with underscores, which some use) and IPv4 addresses. */
const nameForm = /^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$/
const ipv6Form = /^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9_.-]+)?$/

/** Undefined if the text is no `host:port` with a port from 0 to 65535. */
export function parseAddress(text: string): Address | undefined {
  const parts = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text)
  if (parts === null) return undefined
  const [, ipv6, name, digits] = parts
  const port = Number(digits)
  if (port > 65535) return undefined
  if (ipv6 !== undefined) return ipv6Form.test(ipv6) ? { host: ipv6, port } : undefined
  return name !== undefined && nameForm.test(name) ? { host: name, port } : undefined
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Whether only this machine reaches it. A name other than localhost may lead anywhere, tomorrow if not today. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

/** Whether other machines may reach what is served at HOST:PORT; `off` is nowhere. */
export function reachesOthers(address: string): boolean {
  if (address === 'off') return false
  const parsed = parseAddress(address)
  return parsed === undefined || !isLoopback(parsed.host)
}

/** ADDRESS of a peer that is known as ADDRESS:PORT. */
export const hostOfPeer = (peer: string): string => peer.slice(0, Math.max(0, peer.lastIndexOf(':')))

/** ADDRESS:PORT of the other end of a socket, as far as it is known. */
export const peerOf = (socket: {
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
}): string => `${socket.remoteAddress ?? ''}:${String(socket.remotePort ?? 0)}`
