import type { Ino } from '../../core/ids.ts'
import type { Name } from '../../core/name.ts'
import { notify, outHeaderBytes } from './abi.ts'

/** A message to the kernel that answers no request: its code stands where a reply has its error. */
function notification(code: number, bodyBytes: number): Buffer {
  const bytes = Buffer.alloc(outHeaderBytes + bodyBytes)
  bytes.writeUInt32LE(bytes.length, 0)
  bytes.writeInt32LE(code, 4)
  return bytes
}

/** Offset < 0: attributes only. Length <= 0: to the end. */
export function invalidateInodeMessage(ino: Ino, offset: number, length: number): Buffer {
  const bytes = notification(notify.INVAL_INODE, 24)
  bytes.writeBigUInt64LE(ino, outHeaderBytes)
  bytes.writeBigInt64LE(BigInt(offset), outHeaderBytes + 8)
  bytes.writeBigInt64LE(BigInt(length), outHeaderBytes + 16)
  return bytes
}

export function invalidateEntryMessage(parent: Ino, name: Name): Buffer {
  const bytes = notification(notify.INVAL_ENTRY, 16 + name.length + 1)
  bytes.writeBigUInt64LE(parent, outHeaderBytes)
  bytes.writeUInt32LE(name.length, outHeaderBytes + 8)
  bytes.write(name, outHeaderBytes + 16, 'latin1')
  return bytes
}

export function invalidateAllNamesMessage(): Buffer {
  return notification(notify.INC_EPOCH, 0)
}
