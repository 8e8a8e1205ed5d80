/** What every operation checks first, with the errno that ext4 gives. */
import { isDirectory, isRegular } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import { fileBytesMax, nameBytesMax } from '../../core/limits.ts'
import type { Inode } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'

const slash = 0x2f
const dot = 0x2e

/** A name that an entry can have. `.` and `..` never come from a kernel. */
export function checkName(name: Uint8Array): void {
  if (name.length > nameBytesMax) throw new FsError('ENAMETOOLONG')
  if (name.length === 0) throw new FsError('ENOENT', 'The name is empty')
  const dots = name.length <= 2 && name.every(byte => byte === dot)
  if (dots || name.includes(slash) || name.includes(0)) {
    throw new FsError('EINVAL', 'The name is . or .. or has a byte that names cannot have')
  }
}

/** The inode of an operation on what is open or was looked up. */
export function existing(store: Store, ino: bigint): Inode {
  const inode = store.inodes.find(ino)
  if (inode === undefined) throw new FsError('ESTALE', `Inode ${ino.toString()} is gone`)
  return inode
}

export function existingFile(store: Store, ino: bigint): Inode {
  const inode = existing(store, ino)
  if (isRegular(inode.mode)) return inode
  throw new FsError(
    isDirectory(inode.mode) ? 'EISDIR' : 'EINVAL',
    `Inode ${ino.toString()} is not a regular file`,
  )
}

/** A directory that is looked into; a removed one is there, and empty, while somebody has it open. */
export function directory(store: Store, ino: bigint): Inode {
  const inode = store.inodes.find(ino)
  if (inode === undefined) throw new FsError('ENOENT', `Directory ${ino.toString()} is gone`)
  if (!isDirectory(inode.mode)) throw new FsError('ENOTDIR', `Inode ${ino.toString()} is not a directory`)
  return inode
}

/** A directory that gets an entry: a removed one takes none. */
export function liveDirectory(store: Store, ino: bigint): Inode {
  const inode = directory(store, ino)
  if (inode.nlink === 0) throw new FsError('ENOENT', `Directory ${ino.toString()} was removed`)
  return inode
}

/** A file offset or size from the wire as an exact number: EFBIG beyond the largest file. */
export function fileBytes(value: bigint, what: string): number {
  if (value > BigInt(fileBytesMax)) {
    throw new FsError('EFBIG', `${what} is ${value.toString()}, files end at ${fileBytesMax}`)
  }
  return Number(value)
}

/** The end of a range of a file. */
export function fileRange(offset: bigint, length: bigint): { readonly from: number; readonly to: number } {
  return { from: fileBytes(offset, 'The offset'), to: fileBytes(offset + length, 'The end of the range') }
}
