import { isDirectory } from '../../core/attr.ts'
import { type Ino, rootIno } from '../../core/ids.ts'
import type { Store } from '../store/store.ts'

/** A path to the inode, empty if it has none. Directories know their parent; a file is looked for. */
export function pathOf(store: Store, ino: Ino): Uint8Array {
  if (ino === rootIno) return Buffer.from('/')
  const names: Uint8Array[] = []
  const inode = store.inodes.find(ino)
  let child = ino
  let parent = inode !== undefined && isDirectory(inode.mode) ? inode.parent : store.dirents.parentOf(ino)
  // A path is at most as long as there are levels; a circle would be damage.
  for (let level = 0; parent !== undefined && level < 4096; level++) {
    const name = store.dirents.nameOf(parent, child)
    if (name === undefined) return Buffer.alloc(0)
    names.unshift(Buffer.from('/'), name)
    if (parent === rootIno) return Buffer.concat(names)
    child = parent
    parent = store.inodes.parentOf(child)
  }
  return Buffer.alloc(0)
}
