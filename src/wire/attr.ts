/** Core types ↔ generated types, for what several parts of the protocol share. */
import type { Attr, AttrChange, LockRange, TimeChange } from '../core/attr.ts'
import type { Ino } from '../core/ids.ts'
import type { LockChange } from '../core/lock-ranges.ts'
import { FsError } from '../core/errors.ts'
import type * as common from './gen/cairn/v1/common.ts'
import { LeaseKind, type Lock, LockKind, type SetAttr, type SetTime } from './gen/cairn/v1/session.ts'
import { enumValue, fileOffset, required, toIno, u32 } from './validate.ts'

export function attrToWire(attr: Attr): common.Attr {
  return { ...attr, size: BigInt(attr.size), allocated: BigInt(attr.allocated) }
}

export function attrFromWire(wire: common.Attr | undefined, field = 'attr'): Attr {
  const attr = required(wire, field)
  const { ctime } = attr
  // Equal times are one value in memory: there can be attributes of very many.
  const time = (value: bigint): bigint => (value === ctime ? ctime : value)
  // One literal: what is copied from a rest pattern has a hidden class of its own, some 400 bytes each.
  return {
    ino: toIno(attr.ino, `${field}.ino`),
    mode: u32(attr.mode, `${field}.mode`, 0o177777),
    nlink: attr.nlink,
    uid: attr.uid,
    gid: attr.gid,
    rdev: attr.rdev,
    size: fileOffset(attr.size, `${field}.size`),
    allocated: fileOffset(attr.allocated, `${field}.allocated`),
    atime: time(attr.atime),
    mtime: time(attr.mtime),
    ctime,
    btime: time(attr.btime),
  }
}

/** As attrFromWire, for a field that may be absent. */
export function attrFromWireIfPresent(wire: common.Attr | undefined, field = 'attr'): Attr | undefined {
  return wire === undefined ? undefined : attrFromWire(wire, field)
}

export function timeToWire(time: TimeChange | undefined): SetTime | undefined {
  if (time === undefined) return undefined
  return time === 'now' ? { now: true, value: 0n } : { now: false, value: time }
}

export function timeFromWire(wire: SetTime | undefined): TimeChange | undefined {
  if (wire === undefined) return undefined
  return wire.now ? 'now' : wire.value
}

/** Lowest first: a lease of a kind covers those before it. */
export type Lease = 'none' | 'read' | 'write'

const leases = {
  [LeaseKind.LEASE_KIND_NONE]: 'none',
  [LeaseKind.LEASE_KIND_READ]: 'read',
  [LeaseKind.LEASE_KIND_WRITE]: 'write',
} as const

export function leaseToWire(lease: Lease): LeaseKind {
  switch (lease) {
    case 'none':
      return LeaseKind.LEASE_KIND_NONE
    case 'read':
      return LeaseKind.LEASE_KIND_READ
    case 'write':
      return LeaseKind.LEASE_KIND_WRITE
  }
}

export function leaseFromWire(kind: LeaseKind, field = 'kind'): Lease {
  return leases[enumValue(kind, LeaseKind, field)]
}

export type { LockChange }

/** Whose lock it is. `owner` is any 64-bit number of the kernel's choosing, unique within a mount. */
export interface LockHolder {
  readonly owner: bigint
  readonly flock: boolean
}

const lockKinds = {
  [LockKind.LOCK_KIND_UNLOCK]: 'unlock',
  [LockKind.LOCK_KIND_READ]: 'read',
  [LockKind.LOCK_KIND_WRITE]: 'write',
} as const

export function lockToWire(range: LockChange, holder: LockHolder): Lock {
  const kind =
    range.kind === 'unlock'
      ? LockKind.LOCK_KIND_UNLOCK
      : range.kind === 'read'
        ? LockKind.LOCK_KIND_READ
        : LockKind.LOCK_KIND_WRITE
  return {
    kind,
    start: range.start,
    end: range.end,
    pid: range.pid,
    owner: holder.owner,
    flock: holder.flock,
  }
}

/** `range.kind` is 'unlock' only where the caller allows it. Ranges are ordered and end at 2^63-1 at most. */
export function lockFromWire(
  wire: Lock | undefined,
  field = 'lock',
): { range: LockChange; holder: LockHolder } {
  const lock = required(wire, field)
  const { start, end } = lock
  if (start > end || end >= 1n << 63n) throw new FsError('EINVAL', `${field}: range from ${start} to ${end}`)
  const kind = lockKinds[enumValue(lock.kind, LockKind, `${field}.kind`)]
  return { range: { kind, start, end, pid: lock.pid }, holder: { owner: lock.owner, flock: lock.flock } }
}

/** A lock that stands, as an answer to GetLock: never an unlock. */
export function lockRangeFromWire(wire: Lock | undefined, field = 'lock'): LockRange {
  const { range } = lockFromWire(wire, field)
  const { kind, ...rest } = range
  if (kind === 'unlock') throw new FsError('EINVAL', `${field}.kind: unlock`)
  return { ...rest, kind }
}

/** Longest failure text that is passed on: it is one line for people. */
const messageCharsMax = 500

export function errorToWire(thrown: unknown): common.Error {
  const error = FsError.from(thrown)
  return { errno: error.errno, message: error.message.slice(0, messageCharsMax) }
}

export function errorFromWire(wire: common.Error | undefined, field = 'error'): FsError {
  const { errno, message } = required(wire, field)
  return FsError.fromErrno(errno, message.slice(0, messageCharsMax))
}

export function setAttrToWire(ino: Ino, change: AttrChange, time: bigint): SetAttr {
  return {
    ino,
    ...(change.mode === undefined ? {} : { mode: change.mode & 0o7777 }),
    ...(change.uid === undefined ? {} : { uid: change.uid }),
    ...(change.gid === undefined ? {} : { gid: change.gid }),
    ...(change.size === undefined ? {} : { size: BigInt(change.size) }),
    atime: timeToWire(change.atime),
    mtime: timeToWire(change.mtime),
    ctime: timeToWire(change.ctime),
    killSuidgid: change.killSuidgid ?? false,
    time,
  }
}
