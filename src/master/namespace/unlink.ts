import { isDirectory } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import type { Unlink } from '../../wire/gen/cairn/v1/session.ts'
import { type Inode, wireAttr } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'
import { checkName, directory, existing } from './checks.ts'
import type { CommandContext, ResultOf } from './context.ts'
import { loseName } from './lifetime.ts'
import { touchContent } from './times.ts'

/** unlink(2), or rmdir(2) with `directory`. */
export function unlink(store: Store, op: Unlink, ctx: CommandContext): ResultOf<'remove'> {
  checkName(op.name)
  const parent = directory(store, op.parent)
  const entry = store.dirents.find(parent.ino, op.name)
  if (entry === undefined) throw new FsError('ENOENT')
  if (op.expected !== 0n && entry.ino !== op.expected) throw new FsError('ESTALE', 'The name leads elsewhere')
  const inode = existing(store, entry.ino)
  checkRemovable(store, inode, op.directory)

  store.dirents.remove(parent.ino, op.name)
  if (isDirectory(inode.mode)) parent.nlink -= 1
  touchContent(parent, ctx.time)
  store.inodes.save(parent)
  const orphaned = loseName(store, inode, parent.ino, op.open, ctx)
  return { $case: 'remove', value: { attr: wireAttr(inode), parent: wireAttr(parent), orphaned } }
}

/** The name may go, given that the caller means a directory or means none. */
export function checkRemovable(store: Store, inode: Inode, asDirectory: boolean): void {
  if (asDirectory && !isDirectory(inode.mode)) throw new FsError('ENOTDIR')
  if (!asDirectory && isDirectory(inode.mode)) throw new FsError('EISDIR')
  if (asDirectory && !store.dirents.isEmpty(inode.ino)) throw new FsError('ENOTEMPTY')
}
