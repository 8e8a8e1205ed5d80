import { isDirectory, isRegular, S_IFMT } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import { copiesMax } from '../../core/limits.ts'
import type { SetAttr } from '../../wire/gen/cairn/v1/session.ts'
import { resizeFile } from '../extents/extents-edit.ts'
import { stepGoals } from '../extents/steps.ts'
import { type Inode, inodeFlag, wireAttr } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'
import { accessAclName, chmodAcl, encodeAcl, parseAcl } from './acl.ts'
import { existing, existingFile, fileBytes } from './checks.ts'
import type { CommandContext, ResultOf } from './context.ts'
import { dropCapability, killPrivileges } from './privileges.ts'
import { changeTime, settledTime } from './times.ts'

/**
 * chmod, chown, truncate, utimensat, and the number of copies. A change that names nothing is
 * chown(2) with -1 for both, which the kernel sends like that: it clears setuid and sets ctime.
 */
export function setAttr(store: Store, op: SetAttr, ctx: CommandContext): ResultOf<'attr'> {
  const inode = op.size === undefined ? existing(store, op.ino) : existingFile(store, op.ino)
  const now = changeTime(inode, ctx.time)
  if (isChown(op) && !isDirectory(inode.mode)) killPrivileges(store, inode)
  inode.uid = op.uid ?? inode.uid
  inode.gid = op.gid ?? inode.gid
  if (op.size !== undefined) truncate(store, inode, fileBytes(op.size, 'The size'), now)
  if (op.killSuidgid) killPrivileges(store, inode)
  if (op.mode !== undefined) changeMode(store, inode, op.mode)
  if (op.copies !== undefined) changeCopies(store, inode, op.copies)
  if (op.atime !== undefined) inode.atime = settledTime(op.atime, now)
  if (op.mtime !== undefined) inode.mtime = settledTime(op.mtime, now)
  inode.ctime = op.ctime === undefined ? now : settledTime(op.ctime, now)
  store.inodes.save(inode)
  // After the row is saved, since the step reads it.
  if (op.copies !== undefined && isRegular(inode.mode)) stepGoals(store, store.rowsPerCommand)
  return { $case: 'attr', value: { attr: wireAttr(inode) } }
}

function isChown(op: SetAttr): boolean {
  if (op.uid !== undefined || op.gid !== undefined) return true
  const others = [op.mode, op.size, op.atime, op.mtime, op.ctime, op.copies]
  return !op.killSuidgid && others.every(value => value === undefined)
}

/** Also without a change of size, ext4 sets the times. */
function truncate(store: Store, inode: Inode, size: number, now: bigint): void {
  resizeFile(store, inode, size, now)
  dropCapability(store, inode)
  inode.mtime = now
}

function changeMode(store: Store, inode: Inode, mode: number): void {
  inode.mode = (inode.mode & S_IFMT) | (mode & 0o7777)
  if ((inode.flags & inodeFlag.accessAcl) === 0) return
  const stored = store.xattrs.get(inode.ino, accessAclName)
  if (stored === undefined) return
  store.xattrs.put(inode.ino, accessAclName, encodeAcl(chmodAcl(parseAcl(stored), mode)))
}

function changeCopies(store: Store, inode: Inode, copies: number): void {
  if (copies < 1 || copies > copiesMax)
    throw new FsError('EINVAL', `Copies are 1 to ${copiesMax}, not ${copies}`)
  if (copies === inode.copies) return
  inode.copies = copies
  if (isRegular(inode.mode) && inode.allocated > 0) store.goals.pending(inode.ino, 0)
}
