import { isDirectory } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import { linksMax } from '../../core/limits.ts'
import type { Link } from '../../wire/gen/cairn/v1/session.ts'
import { type Inode, inodeFlag, isPlain, wireAttr } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'
import { checkName, existing, liveDirectory } from './checks.ts'
import type { CommandContext, ResultOf } from './context.ts'
import { touch, touchContent } from './times.ts'

/** Gives an inode one more name; the first one to an O_TMPFILE. */
export function link(store: Store, op: Link, ctx: CommandContext): ResultOf<'entry'> {
  checkName(op.name)
  const parent = liveDirectory(store, op.parent)
  const inode = existing(store, op.ino)
  if (store.dirents.find(parent.ino, op.name) !== undefined) throw new FsError('EEXIST')
  if (isDirectory(inode.mode)) throw new FsError('EPERM', 'A directory has one name')
  if (inode.nlink >= linksMax) throw new FsError('EMLINK')
  if (inode.nlink === 0) adopt(store, inode)
  inode.nlink += 1
  touch(inode, ctx.time)
  store.inodes.save(inode)
  const cookie = store.dirents.add(parent.ino, op.name, inode.ino, inode.mode)
  touchContent(parent, ctx.time)
  store.inodes.save(parent)
  return {
    $case: 'entry',
    value: { attr: wireAttr(inode), parent: wireAttr(parent), plainParent: isPlain(parent), cookie },
  }
}

/** An inode without a name gets one only if it never had one and was not made with O_EXCL. */
function adopt(store: Store, inode: Inode): void {
  if ((inode.flags & inodeFlag.linkable) === 0) throw new FsError('ENOENT', 'The inode lost its last name')
  inode.flags &= ~inodeFlag.linkable
  store.orphans.removeAll(inode.ino)
}
