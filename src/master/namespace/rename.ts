import { must } from '../../core/assert.ts'
import { isDirectory, S_IFCHR } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import { type Ino, rootIno } from '../../core/ids.ts'
import { Create, type Rename, RenameMode } from '../../wire/gen/cairn/v1/session.ts'
import type { Entry } from '../store/dirents.ts'
import { type Inode, wireAttr } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'
import { checkName, directory, existing, liveDirectory } from './checks.ts'
import type { CommandContext, ResultOf } from './context.ts'
import { addInode } from './create.ts'
import { loseName } from './lifetime.ts'
import { touch, touchContent } from './times.ts'
import { checkRemovable } from './unlink.ts'

/** The rows that a rename is about. `from` and `to` are one object when they are one directory. */
interface Move {
  readonly from: Inode
  readonly name: Uint8Array
  readonly inode: Inode
  readonly to: Inode
  readonly newName: Uint8Array
  /** What the new name leads to until now. */
  readonly target: Inode | undefined
}

/** rename(2), renameat2(2) with NOREPLACE, EXCHANGE or WHITEOUT. */
export function rename(store: Store, op: Rename, ctx: CommandContext): ResultOf<'rename'> {
  checkName(op.name)
  checkName(op.newName)
  const move = findMove(store, op)
  const { inode, target } = move
  if (target?.ino === inode.ino) return reply(move, undefined, false)
  const exchange = op.mode === RenameMode.RENAME_MODE_EXCHANGE
  if (move.from !== move.to) checkNoCycle(store, move, exchange)
  if (target !== undefined && !exchange) checkRemovable(store, target, isDirectory(inode.mode))

  if (exchange) swap(store, move, must(target, 'target of an exchange'), ctx.time)
  else moveOver(store, move)
  const whiteout = op.mode === RenameMode.RENAME_MODE_WHITEOUT ? addWhiteout(store, move, op, ctx) : undefined
  touchContent(move.from, ctx.time)
  store.inodes.save(move.from)
  if (move.to !== move.from) {
    touchContent(move.to, ctx.time)
    store.inodes.save(move.to)
  }
  touch(inode, ctx.time)
  store.inodes.save(inode)
  const orphaned =
    target !== undefined && !exchange && loseName(store, target, move.to.ino, op.targetOpen, ctx)
  return reply(move, target, orphaned, whiteout)
}

function reply(
  move: Move,
  target: Inode | undefined,
  orphaned: boolean,
  whiteout?: Inode,
): ResultOf<'rename'> {
  const value = {
    attr: wireAttr(move.inode),
    parent: wireAttr(move.from),
    newParent: wireAttr(move.to),
    target: target === undefined ? undefined : wireAttr(target),
    orphaned,
    whiteout: whiteout === undefined ? undefined : wireAttr(whiteout),
  }
  return { $case: 'rename', value }
}

function findMove(store: Store, op: Rename): Move {
  const from = directory(store, op.parent)
  const to = op.newParent === op.parent ? from : directory(store, op.newParent)
  const entry = store.dirents.find(from.ino, op.name)
  if (entry === undefined) throw new FsError('ENOENT')
  // A change before this one may have been refused, as where the disk was full: then another file has the name.
  if (op.expected !== 0n && op.expected !== entry.ino) throw new FsError('ESTALE', 'The name leads elsewhere')
  const replaced = store.dirents.find(to.ino, op.newName)
  checkTarget(op, replaced)
  // A removed directory has no entries, and takes none.
  if (replaced === undefined) liveDirectory(store, to.ino)
  const inode = existing(store, entry.ino)
  const target = replaced === undefined ? undefined : existing(store, replaced.ino)
  return { from, name: op.name, inode, to, newName: op.newName, target }
}

/** What the new name leads to is what the mode, and the sender, take it to be. */
function checkTarget(op: Rename, replaced: Entry | undefined): void {
  if (op.mode === RenameMode.RENAME_MODE_NOREPLACE && replaced !== undefined) throw new FsError('EEXIST')
  if (op.mode !== RenameMode.RENAME_MODE_EXCHANGE) {
    if ((replaced?.ino ?? 0n) !== op.expectedTarget)
      throw new FsError('ESTALE', 'The new name leads elsewhere')
    return
  }
  if (replaced === undefined) throw new FsError('ENOENT')
  if (op.expectedTarget !== 0n && replaced.ino !== op.expectedTarget) {
    throw new FsError('ESTALE', 'The new name leads elsewhere')
  }
}

/** No directory comes to lie in itself. */
function checkNoCycle(store: Store, { inode, from, to, target }: Move, exchange: boolean): void {
  if (isDirectory(inode.mode) && isWithin(store, to.ino, inode.ino)) throw new FsError('EINVAL')
  if (target === undefined || !isDirectory(target.mode) || !isWithin(store, from.ino, target.ino)) return
  throw new FsError(exchange ? 'EINVAL' : 'ENOTEMPTY')
}

/** Whether a directory is `ancestor` or lies below it. */
function isWithin(store: Store, start: Ino, ancestor: Ino): boolean {
  for (let at = start; at !== rootIno; at = must(store.inodes.parentOf(at), 'parent of a directory')) {
    if (at === ancestor) return true
  }
  return ancestor === rootIno
}

function moveOver(store: Store, { from, name, inode, to, newName, target }: Move): void {
  if (target !== undefined) {
    store.dirents.lead(to.ino, newName, inode.ino, inode.mode)
    store.dirents.remove(from.ino, name)
    if (isDirectory(target.mode)) to.nlink -= 1
  } else if (from === to) {
    store.dirents.rename(from.ino, name, newName)
  } else {
    store.dirents.remove(from.ino, name)
    store.dirents.add(to.ino, newName, inode.ino, inode.mode)
  }
  rehang(inode, from, to)
}

/** What overlayfs takes for a removed name: a character device of number 0 without permissions. */
function addWhiteout(store: Store, { from, name }: Move, { uid, gid }: Rename, ctx: CommandContext): Inode {
  const how = Create.fromPartial({ parent: from.ino, name, mode: S_IFCHR, uid, gid })
  const inode = addInode(store, from, how, ctx)
  store.dirents.add(from.ino, name, inode.ino, inode.mode)
  return inode
}

function swap(store: Store, { from, name, inode, to, newName }: Move, target: Inode, time: bigint): void {
  store.dirents.lead(from.ino, name, target.ino, target.mode)
  store.dirents.lead(to.ino, newName, inode.ino, inode.mode)
  rehang(inode, from, to)
  rehang(target, to, from)
  touch(target, time)
  store.inodes.save(target)
}

/** A directory's `..` follows it, and its old and new parent count it. */
function rehang(inode: Inode, from: Inode, to: Inode): void {
  if (!isDirectory(inode.mode)) return
  inode.parent = to.ino
  from.nlink -= 1
  to.nlink += 1
}
