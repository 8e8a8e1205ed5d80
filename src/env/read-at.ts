import { readSync } from 'node:fs'

/** Up to `length` bytes of an open file from `offset` on: fewer only at its end. */
export function readAt(fd: number, offset: number, length: number): Uint8Array {
  const bytes = Buffer.allocUnsafeSlow(length)
  let filled = 0
  for (let count = 1; count > 0 && filled < length; filled += count)
    count = readSync(fd, bytes, filled, length - filled, offset + filled)
  return bytes.subarray(0, filled)
}
