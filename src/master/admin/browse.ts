import { isDirectory } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import { rootIno } from '../../core/ids.ts'
import { nameToBytes } from '../../core/name.ts'
import type { BrowseReply, BrowseRequest } from '../../wire/gen/cairn/v1/admin.ts'
import { bytesUpTo, toName, u32, u63 } from '../../wire/validate.ts'
import { type Inode, wireAttr } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'

export const pathBytesMax = 4096
const entriesMax = 500
const slash = 0x2f

/** What is at a path and, of a folder, a page of what is in it: one look-up for each name on the way. */
export function browse(store: Store, request: BrowseRequest): BrowseReply {
  const inode = inodeAt(store, bytesUpTo(request.path, pathBytesMax, 'path'))
  const after = u63(request.after, 'after')
  const limit = Math.min(u32(request.limit, 'limit'), entriesMax)
  const rows = isDirectory(inode.mode) && limit > 0 ? store.dirents.list(inode.ino, after, limit + 1) : []
  return {
    attr: wireAttr(inode),
    copies: inode.copies,
    target: store.symlinks.target(inode.ino) ?? new Uint8Array(0),
    entries: rows.slice(0, limit).flatMap(({ name, ino, cookie }) => {
      const child = store.inodes.find(ino)
      return child === undefined ? [] : [{ name, cookie, attr: wireAttr(child), copies: child.copies }]
    }),
    more: rows.length > limit,
  }
}

export function inodeAt(store: Store, path: Uint8Array): Inode {
  let at = inodeOf(store, rootIno)
  for (const part of partsOf(path)) {
    if (!isDirectory(at.mode)) throw new FsError('ENOTDIR', 'A name on the way is no folder')
    const entry = store.dirents.find(at.ino, nameToBytes(toName(part)))
    if (entry === undefined) throw new FsError('ENOENT', 'There is no such path')
    at = inodeOf(store, entry.ino)
  }
  return at
}

function inodeOf(store: Store, ino: bigint): Inode {
  const inode = store.inodes.find(ino)
  if (inode === undefined) throw new FsError('ENOENT', `There is no inode ${ino}`)
  return inode
}

function partsOf(path: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = []
  for (let from = 0; from < path.length; ) {
    const found = path.indexOf(slash, from)
    const to = found === -1 ? path.length : found
    if (to > from) parts.push(path.subarray(from, to))
    from = to + 1
  }
  return parts
}
