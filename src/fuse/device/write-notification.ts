import { writeSync } from 'node:fs'

/** Returns the code of the error, or undefined. Blocks while the kernel waits for a lock that the message needs. */
export function writeNotification(fd: number, bytes: Uint8Array): string | undefined {
  for (;;) {
    try {
      writeSync(fd, bytes)
      return undefined
    } catch (thrown) {
      const { code } = thrown as NodeJS.ErrnoException
      if (code !== 'EINTR' && code !== 'EAGAIN') return code ?? 'EIO'
    }
  }
}
