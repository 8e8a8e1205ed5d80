/**
 * What a process that serves a mount leaves to the one that goes on with it. Everything was stored and answered before;
 * what was cached is left out, since it can be asked again: leases stay, and with them what the kernel has cached.
 */
import type { Attr } from '../../core/attr.ts'
import { type ErrnoName, FsError } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import type { Name } from '../../core/name.ts'
import type { Lease } from '../../wire/attr.ts'
import type { Inode } from '../cache/inode.ts'
import type { Locks, OwnedLocks } from '../locks/locks.ts'
import type { FilesContext } from './context.ts'
import type { Handles, OpenFile, OpenHow } from './handles.ts'
import type { Listings } from './listings.ts'
import { lossesOf } from './losses.ts'

export interface InodeState {
  readonly ino: Ino
  readonly lease: Lease
  readonly directory: boolean
  readonly removed: boolean
  readonly orphaned: boolean
  readonly forfeited: boolean
  readonly forgotten: boolean
  /** Of one without a name: nobody else may know them. */
  readonly attr?: Attr | undefined
  readonly ownXattrs?: ReadonlyMap<Name, Uint8Array> | undefined
  readonly losses: {
    readonly count: number
    readonly unheard: boolean
    readonly last?: { readonly code: ErrnoName; readonly message: string } | undefined
  }
}

export interface HandleState {
  readonly handle: bigint
  readonly ino: Ino
  readonly how: OpenHow
  readonly directIo: boolean
  readonly incarnation: number
  readonly heard: number
}

export interface FilesState {
  readonly inodes: readonly InodeState[]
  readonly handles: readonly HandleState[]
  readonly directories: readonly { readonly handle: bigint; readonly ino: Ino }[]
  readonly locks: readonly OwnedLocks[]
}

interface Parts {
  readonly handles: Handles
  readonly listings: Listings
  readonly locks: Locks
}

export function stateOfFiles(context: FilesContext, { handles, listings, locks }: Parts): FilesState {
  for (const ino of context.data.failed()) context.cache.make(ino)
  const inodes = [...context.cache.all()].map(node => stateOfInode(context, node)).filter(isWorthTelling)
  return {
    inodes,
    handles: [...handles.all()].map(stateOfHandle),
    directories: [...listings.all()].map(([handle, ino]) => ({ handle, ino })),
    locks: [...locks.owned()],
  }
}

export function restoreFiles(state: FilesState, context: FilesContext, parts: Parts): void {
  const { cache } = context
  for (const inode of state.inodes) restoreInode(cache.make(inode.ino), inode)
  for (const { ino, ...file } of state.handles) parts.handles.restore({ node: cache.make(ino), ...file })
  for (const { handle, ino } of state.directories) parts.listings.restore(handle, ino)
  for (const owned of state.locks) parts.locks.restore(owned)
}

function stateOfInode(context: FilesContext, node: Inode): InodeState {
  const { count, unheard, last } = lossesOf(context, node)
  const { ino, lease, isDirectory: directory, removed, orphaned, forfeited, forgotten, ownXattrs } = node
  return {
    ...{ ino, lease, directory, removed, orphaned, forfeited, forgotten, ownXattrs },
    attr: removed ? node.attr : undefined,
    losses: { count, unheard, last: last && { code: last.code, message: last.message } },
  }
}

function stateOfHandle({ handle, node, how, directIo, incarnation, heard }: OpenFile): HandleState {
  const { read, write, append, truncate, sync, noAtime, killSuidgid } = how
  return {
    ...{ handle, ino: node.ino, directIo, incarnation, heard },
    how: { read, write, append, truncate, sync, noAtime, killSuidgid },
  }
}

const isWorthTelling = ({ lease, directory, removed, orphaned, losses }: InodeState): boolean =>
  lease !== 'none' || directory || removed || orphaned || losses.count > 0

function restoreInode(node: Inode, state: InodeState): void {
  const { last } = state.losses
  if (state.directory) node.noteDirectory()
  node.lease = state.lease
  node.removed = state.removed
  node.orphaned = state.orphaned
  node.forfeited = state.forfeited
  node.forgotten = state.forgotten
  if (state.attr !== undefined) node.attr = state.attr
  if (state.ownXattrs !== undefined) node.ownXattrs = new Map(state.ownXattrs)
  node.ownLosses.count = state.losses.count
  node.ownLosses.unheard = state.losses.unheard
  if (last !== undefined) node.ownLosses.last = new FsError(last.code, last.message)
}
