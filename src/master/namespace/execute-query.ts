import { unreachable } from '../../core/assert.ts'
import { isSymlink } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import { nameBytesMax } from '../../core/limits.ts'
import { getExtents, getExtentsOf, locate } from '../extents/get-extents.ts'
import type { GetXattr, Lookup, ReadDir, ReadLink } from '../../wire/gen/cairn/v1/session.ts'
import { isPlain, wireAttr } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'
import { directory, existing } from './checks.ts'
import { readTree } from './read-tree.ts'
import { kindOf } from './xattr.ts'
import type { QueryContext, QueryOp, Result, ResultOf } from './context.ts'

/** Entries in one answer, if the question does not say or asks for more. */
const entriesMax = 4096
/** Inode numbers are not what runs out; programs want to see some room. */
const filesMax = 2n ** 40n

/** Answers a question from the store. Changes nothing. Throws FsError. */
export function executeQuery(store: Store, op: QueryOp, ctx: QueryContext): Result {
  switch (op.$case) {
    case 'lookup':
      return lookup(store, op.value)
    case 'getAttr':
      return { $case: 'attr', value: { attr: wireAttr(existing(store, op.value.ino)) } }
    case 'readDir':
      return readDir(store, op.value, ctx)
    case 'readTree':
      return readTree(store, op.value, ctx)
    case 'readLink':
      return readLink(store, op.value)
    case 'getXattr':
      return getXattr(store, op.value)
    case 'listXattr':
      return { $case: 'listXattr', value: { names: store.xattrs.names(existing(store, op.value.ino).ino) } }
    case 'getExtents':
      return getExtents(store, op.value, ctx)
    case 'getExtentsOf':
      return getExtentsOf(store, op.value, ctx)
    case 'locate':
      return locate(store, op.value, ctx)
    case 'statFs':
      return statFs(store, ctx)
    default:
      return unreachable(op)
  }
}

function lookup(store: Store, op: Lookup): ResultOf<'entry'> {
  if (op.name.length > nameBytesMax) throw new FsError('ENAMETOOLONG')
  const parent = directory(store, op.parent)
  const entry = store.dirents.find(parent.ino, op.name)
  const attr = entry === undefined ? undefined : wireAttr(existing(store, entry.ino))
  const value = { attr, parent: wireAttr(parent), plainParent: isPlain(parent), cookie: entry?.cookie ?? 0n }
  return { $case: 'entry', value }
}

/** A listing recalls nothing of what others buffer: it leaves out the attributes that they may have changed. */
function readDir(store: Store, op: ReadDir, ctx: QueryContext): ResultOf<'readDir'> {
  const { ino, parent } = directory(store, op.ino)
  const limit = op.limit === 0 ? entriesMax : Math.min(op.limit, entriesMax)
  const found = store.dirents.list(ino, op.after, limit)
  const entries = found.map(entry => ({
    ...entry,
    attr: op.attrs && ctx.isSettled(entry.ino) ? wireAttr(existing(store, entry.ino)) : undefined,
  }))
  return { $case: 'readDir', value: { entries, end: found.length < limit, parent } }
}

function readLink(store: Store, op: ReadLink): ResultOf<'readLink'> {
  const inode = existing(store, op.ino)
  const target = isSymlink(inode.mode) ? store.symlinks.target(inode.ino) : undefined
  if (target === undefined) throw new FsError('EINVAL', `Inode ${op.ino.toString()} is not a symbolic link`)
  return { $case: 'readLink', value: { target } }
}

function getXattr(store: Store, op: GetXattr): ResultOf<'xattr'> {
  kindOf(op.name)
  const value = store.xattrs.get(existing(store, op.ino).ino, op.name)
  if (value === undefined) throw new FsError('ENODATA')
  return { $case: 'xattr', value: { value } }
}

function statFs(store: Store, ctx: QueryContext): ResultOf<'statFs'> {
  const files = store.inodes.count
  const { blockBytes } = store.format.facts
  return { $case: 'statFs', value: { ...ctx.space(), files, filesFree: filesMax - files, blockBytes } }
}
