/**
 * How inodes begin to be forgotten. The name goes first; the inode follows at once, or lives on as
 * an orphan while sessions have it open (rows in orphans commit with the unlink, so that a restart
 * of the master loses nobody's open file).
 */
import { isDirectory, isRegular, isSymlink } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import type { Ino, SessionId } from '../../core/ids.ts'
import { fileBytesMax } from '../../core/limits.ts'
import { ExtentsEdit } from '../extents/extents-edit.ts'
import { type Inode, inodeFlag } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'
import type { CommandContext } from './context.ts'
import { touch } from './times.ts'

/** A name of the inode in a directory was removed. True if that was the last one and the inode lives on as an orphan. */
export function loseName(
  store: Store,
  inode: Inode,
  directory: Ino,
  open: boolean,
  ctx: CommandContext,
): boolean {
  if (open && (isDirectory(inode.mode) || inode.nlink === 1)) checkMayHold(ctx)
  inode.nlink = isDirectory(inode.mode) ? 0 : inode.nlink - 1
  touch(inode, ctx.time)
  if (inode.nlink > 0) {
    store.inodes.save(inode)
    return false
  }
  // Who holds too many loses what others remove: they are not to be kept from it.
  const holders = new Set(ctx.openIn(inode.ino, directory).filter(session => ctx.mayHold(session)))
  if (open) holders.add(ctx.session)
  if (holders.size === 0) {
    destroy(store, inode, ctx.time)
    return false
  }
  for (const session of holders) store.orphans.add(inode.ino, session)
  store.inodes.save(inode)
  return true
}

/** EDQUOT if the session holds too many removed files open to have one more. */
export function checkMayHold({ session, mayHold }: Pick<CommandContext, 'session' | 'mayHold'>): void {
  if (!mayHold(session))
    throw new FsError('EDQUOT', 'Too many files are held open that were removed: some are to be closed first')
}

/** EBUSY if another session has the orphan open. */
export function checkUnshared(store: Store, ino: Ino, session: SessionId): void {
  if (store.orphans.hasOther(ino, session)) throw new FsError('EBUSY', `inode ${ino} is open elsewhere`)
}

/** A session no longer has an orphan open; the last one lets it go. Nothing happens to what is no orphan. */
export function closeOrphan(store: Store, ino: Ino, session: SessionId, time: bigint): void {
  if (!store.orphans.remove(ino, session) || store.orphans.has(ino)) return
  const inode = store.inodes.find(ino)
  if (inode?.nlink === 0) destroy(store, inode, time)
}

/** A session is dead: lets go of up to `budget` orphans that it had open. True if it has more. */
export function stepOrphansOf(store: Store, session: SessionId, budget: number, time: bigint): boolean {
  const held = store.orphans.ofSession(session, budget)
  for (const ino of held) closeOrphan(store, ino, session, time)
  return held.length === budget
}

/** Removes the inode; extents that are too many for one command are doomed under its number. */
function destroy(store: Store, inode: Inode, time: bigint): void {
  if (isRegular(inode.mode)) {
    const edit = new ExtentsEdit(store, inode)
    edit.clear(0, fileBytesMax)
    edit.finish(time)
    store.goals.done(inode.ino)
  }
  if (isSymlink(inode.mode)) store.symlinks.remove(inode.ino)
  if ((inode.flags & inodeFlag.xattrs) !== 0) store.xattrs.removeAll(inode.ino)
  store.inodes.remove(inode.ino)
}
