/**
 * What an operation asks of the leases of others before it may run, and which leases it brings its
 * sender. One row an operation.
 */
import { isDirectory, isRegular } from '../../core/attr.ts'
import type { Ino } from '../../core/ids.ts'
import type { Lease } from '../../wire/attr.ts'
import { type Attr } from '../../wire/gen/cairn/v1/common.ts'
import { LeaseKind, type ReadTreeReply } from '../../wire/gen/cairn/v1/session.ts'
import type { Op } from '../../wire/commands.ts'
import type { Result } from '../namespace/context.ts'
import type { Store } from '../store/store.ts'

/**
 * read: nobody else may buffer writes (they are flushed and keep 'read'). write: nobody else may cache.
 * open: as write, but while others have it open for writing nobody may buffer, and all may cache. remove: as write, and every other session that may have the inode open has been asked whether it has.
 */
export interface Need {
  readonly ino: Ino
  readonly access: 'read' | 'write' | 'open' | 'remove'
}

export interface Grant {
  readonly ino: Ino
  readonly lease: Lease
}

const need = (ino: bigint, access: Need['access']): Need => ({ ino: ino as Ino, access })

/** Of an operation that is about to run: depends on what the names lead to now. */
export function needsOf(store: Store, op: Op): Need[] {
  switch (op.$case) {
    case 'lookup':
      return [need(op.value.parent, 'read'), ...child(store, op.value.parent, op.value.name, 'read')]
    case 'getAttr':
    case 'readDir':
    case 'readLink':
    case 'getXattr':
    case 'listXattr':
    case 'getExtents':
      return [need(op.value.ino, 'read')]
    case 'acquire':
      return [need(op.value.ino, op.value.kind === LeaseKind.LEASE_KIND_WRITE ? 'open' : 'read')]
    case 'create': {
      if (op.value.tmpfile) return []
      const access = op.value.writeLease ? 'open' : 'read'
      return [need(op.value.parent, 'write'), ...child(store, op.value.parent, op.value.name, access)]
    }
    case 'link':
      return [need(op.value.parent, 'write'), need(op.value.ino, 'write')]
    case 'unlink':
      return [need(op.value.parent, 'write'), ...removed(store, op.value.parent, op.value.name)]
    case 'rename':
      return [
        need(op.value.parent, 'write'),
        need(op.value.newParent, 'write'),
        ...child(store, op.value.parent, op.value.name, 'write'),
        ...removed(store, op.value.newParent, op.value.newName),
      ]
    case 'setAttr':
    case 'setXattr':
    case 'removeXattr':
    case 'commit':
    case 'punchRange':
    case 'settle':
      return [need(op.value.ino, 'write')]
    case 'cloneRange':
      return [need(op.value.from, 'read'), need(op.value.to, 'write')]
    case 'getExtentsOf':
    case 'readTree':
    case 'locate':
    case 'statFs':
    case 'reclaim':
    case 'plan':
    case 'getLock':
    case 'setLock':
    case 'reportDamage':
    case 'reserveSpace':
    case 'reserveInos':
    case 'barrier':
    case 'endSession':
    case 'closeOrphan':
      return []
  }
}

/** Leases that the sender would like to have with the answer; the table says which it gets. */
export function grantsOf(op: Op, result: Result): Grant[] {
  if (result.$case === 'error') return []
  switch (op.$case) {
    case 'lookup':
      return [
        read(op.value.parent),
        ...ofAttr(result.$case === 'entry' ? result.value.attr : undefined, 'read'),
      ]
    case 'readDir':
      return [
        // As far as the others allow.
        op.value.removing ? write(op.value.ino) : read(op.value.ino),
        ...(result.$case === 'readDir'
          ? result.value.entries.flatMap(entry => (entry.attr === undefined ? [] : [read(entry.ino)]))
          : []),
      ]
    case 'getAttr':
    case 'readLink':
    case 'getXattr':
    case 'listXattr':
    case 'getExtents':
    case 'setAttr':
    case 'setXattr':
    case 'removeXattr':
    case 'commit':
    case 'punchRange':
      return [read(op.value.ino)]
    case 'readTree':
      return result.$case === 'readTree' ? ofTree(result.value, op.value.removing) : []
    case 'getExtentsOf':
      return result.$case === 'extentsOf' ? result.value.files.map(({ ino }) => read(ino)) : []
    case 'acquire':
      return [
        { ino: op.value.ino as Ino, lease: op.value.kind === LeaseKind.LEASE_KIND_WRITE ? 'write' : 'read' },
      ]
    case 'create': {
      const attr = result.$case === 'entry' ? result.value.attr : undefined
      // What is new is nobody else's yet; only a regular file may have been there.
      const writes = attr !== undefined && (!isRegular(attr.mode) || op.value.writeLease)
      const lease = writes ? 'write' : 'read'
      return [...(op.value.tmpfile ? [] : [write(op.value.parent)]), ...ofAttr(attr, lease)]
    }
    case 'link':
      return [read(op.value.parent), read(op.value.ino)]
    case 'unlink':
      return [write(op.value.parent)]
    case 'rename':
      return [
        write(op.value.parent),
        write(op.value.newParent),
        ...ofAttr(result.$case === 'rename' ? result.value.attr : undefined, 'read'),
      ]
    case 'cloneRange':
      return [read(op.value.from), read(op.value.to)]
    case 'locate':
    case 'statFs':
    case 'reclaim':
    case 'plan':
    case 'getLock':
    case 'setLock':
    case 'reportDamage':
    case 'reserveSpace':
    case 'reserveInos':
    case 'barrier':
    case 'endSession':
    case 'settle':
    case 'closeOrphan':
      return []
  }
}

const read = (ino: bigint): Grant => ({ ino: ino as Ino, lease: 'read' })
/** Who changes one name in a directory changes more, and need not wait for each (docs/design.md). */
const write = (ino: bigint): Grant => ({ ino: ino as Ino, lease: 'write' })

const ofTree = ({ directories }: ReadTreeReply, removing: boolean): Grant[] =>
  directories.flatMap(({ ino, entries }) => [
    removing ? write(ino) : read(ino),
    ...entries.flatMap(entry => (entry.attr === undefined ? [] : [read(entry.ino)])),
  ])

const ofAttr = (attr: Attr | undefined, lease: Lease): Grant[] =>
  attr === undefined ? [] : [{ ino: attr.ino as Ino, lease }]

function child(store: Store, parent: bigint, name: Uint8Array, access: Need['access']): Need[] {
  const entry = store.dirents.find(parent, name)
  return entry === undefined ? [] : [need(entry.ino, access)]
}

/** What loses a name: if it is the last one, all that may have it open must be asked. */
function removed(store: Store, parent: bigint, name: Uint8Array): Need[] {
  const entry = store.dirents.find(parent, name)
  if (entry === undefined) return []
  const inode = store.inodes.find(entry.ino)
  const last = inode !== undefined && (isDirectory(inode.mode) || inode.nlink < 2)
  return [need(entry.ino, last ? 'remove' : 'write')]
}
