/**
 * Checked conversions of what came over the wire. Nothing else may turn a decoded field into a core
 * type. A frame without the expected form is EPROTO; a value out of its bounds is EINVAL (a name or a
 * file range out of bounds has the errno that a program knows). The message names the field and what
 * it held.
 */
import { dedupDomainBytes, noDedupDomain } from '../core/checksum.ts'
import { type ErrnoName, FsError } from '../core/errors.ts'
import {
  type BlockId,
  type BlockKey,
  blockIdBytes,
  blockIdFromBytes,
  type Generation,
  type Ino,
  type NodeId,
  type SessionId,
} from '../core/ids.ts'
import {
  blockBytesMax,
  fileBytesMax,
  nameBytesMax,
  symlinkBytesMax,
  xattrNameBytesMax,
} from '../core/limits.ts'
import { type Name, nameFromBytes } from '../core/name.ts'

/** SQLite's integers are signed, so no id reaches 2^63. */
const idLimit = 1n << 63n
const u32Max = 0xffff_ffff
const safeMax = BigInt(Number.MAX_SAFE_INTEGER)

function refuse(code: ErrnoName, field: string, found: string): never {
  throw new FsError(code, `${field}: ${found}`)
}

/** A submessage that must be there. */
export function required<T>(value: T | undefined, field: string): T {
  return value === undefined ? refuse('EPROTO', field, 'missing') : value
}

/** The one set member of a oneof. Unknown members of newer versions arrive as absent. */
export function oneofPresent<T extends { readonly $case: string }>(value: T | undefined, field: string): T {
  return value === undefined ? refuse('EPROTO', field, 'nothing known is set') : value
}

/** One of the values of a generated enum; proto3 lets any number through. */
export function enumValue<T extends number>(
  value: number,
  known: Readonly<Record<string, T>>,
  field: string,
): T {
  for (const name in known) if (known[name] === value) return value as T
  return refuse('EINVAL', field, `unknown value ${value}`)
}

/** A list of at most `max` items. */
export function listOf<T>(list: readonly T[], max: number, field: string): readonly T[] {
  return list.length <= max ? list : refuse('EINVAL', field, `${list.length} items, at most ${max} expected`)
}

/** An unsigned 64-bit field as an exact number, from 0 to `max`. */
export function u64(value: bigint, field: string, max: number = Number.MAX_SAFE_INTEGER): number {
  if (value < 0n || value > safeMax || Number(value) > max)
    refuse('EINVAL', field, `${value}, at most ${max} expected`)
  return Number(value)
}

/** An unsigned 32-bit field from `min` to `max`. */
export function u32(value: number, field: string, max: number = u32Max, min = 0): number {
  if (value < min || value > max) refuse('EINVAL', field, `${value}, from ${min} to ${max} expected`)
  return value
}

/** An unsigned 64-bit field that is stored as it is: below 2^63. For cookies, sequences, epochs, call ids. */
export function u63(value: bigint, field: string): bigint {
  return value >= 0n && value < idLimit ? value : refuse('EINVAL', field, `${value}, less than 2^63 expected`)
}

function id(value: bigint, field: string): bigint {
  return value > 0n && value < idLimit ? value : refuse('EINVAL', field, `${value} is no id`)
}

export const toIno = (value: bigint, field = 'ino'): Ino => id(value, field) as Ino
export const toBlockKey = (value: bigint, field = 'key'): BlockKey => id(value, field) as BlockKey
export const toSessionId = (value: bigint, field = 'session'): SessionId => id(value, field) as SessionId
export const toNodeId = (value: bigint, field = 'node'): NodeId => id(value, field) as NodeId
export const toGeneration = (value: bigint, field = 'generation'): Generation =>
  id(value, field) as Generation

/** Ids for which 0 means none. */
export const toInoOrNone = (value: bigint, field = 'ino'): Ino | undefined =>
  value === 0n ? undefined : toIno(value, field)
export const toBlockKeyOrNone = (value: bigint, field = 'key'): BlockKey | undefined =>
  value === 0n ? undefined : toBlockKey(value, field)
export const toSessionIdOrNone = (value: bigint, field = 'session'): SessionId | undefined =>
  value === 0n ? undefined : toSessionId(value, field)
export const toNodeIdOrNone = (value: bigint, field = 'node'): NodeId | undefined =>
  value === 0n ? undefined : toNodeId(value, field)

/** Bytes of a fixed length: macs, secrets, cluster ids. */
export function bytesOf(value: Uint8Array, length: number, field: string): Uint8Array {
  return value.length === length
    ? value
    : refuse('EPROTO', field, `${value.length} bytes, ${length} expected`)
}

/** What ids of blocks were made with (core/checksum.ts): nothing, or a dedup domain. */
export function toDedupDomain(value: Uint8Array, field: string): Uint8Array {
  return value.length === 0 ? noDedupDomain : bytesOf(value, dedupDomainBytes, field)
}

export function bytesUpTo(value: Uint8Array, max: number, field: string): Uint8Array {
  return value.length <= max
    ? value
    : refuse('EINVAL', field, `${value.length} bytes, at most ${max} expected`)
}

/** Text for people or configuration (host, zone, address), bounded so that no peer fills a table. */
export function text(value: string, field: string, max = 1024): string {
  if (value.length > max) refuse('EINVAL', field, `${value.length} characters, at most ${max} expected`)
  return value.includes('\0') ? refuse('EINVAL', field, 'contains NUL') : value
}

export function toBlockId(bytes: Uint8Array, field = 'id'): BlockId {
  return blockIdFromBytes(bytesOf(bytes, blockIdBytes, field))
}

/** Length of a block: at least 1, at most `max` (the cluster's block size where it is known). */
export function toBlockLength(value: number, field = 'length', max: number = blockBytesMax): number {
  return u32(value, field, max, 1)
}

/** [offset, offset + length) lies within a block of `blockLength` bytes and is not empty. */
export function blockRange(
  offset: number,
  length: number,
  blockLength: number = blockBytesMax,
  field = 'block range',
): { readonly offset: number; readonly length: number } {
  if (length < 1 || offset < 0 || offset + length > blockLength)
    refuse('EINVAL', field, `${length} bytes at ${offset} of a block of ${blockLength}`)
  return { offset, length }
}

/** A size or an offset in a file. */
export function fileOffset(value: bigint, field = 'offset'): number {
  if (value < 0n || value > BigInt(fileBytesMax))
    refuse('EFBIG', field, `${value}, at most ${fileBytesMax} expected`)
  return Number(value)
}

/** A range of a file; it may be empty. */
export function fileRange(
  offset: bigint,
  length: bigint,
  field = 'range',
): { readonly offset: number; readonly length: number } {
  if (offset < 0n || length < 0n || offset + length > BigInt(fileBytesMax))
    refuse('EFBIG', field, `${length} bytes at ${offset}, files end at ${fileBytesMax}`)
  return { offset: Number(offset), length: Number(length) }
}

/** A name in a directory: 1 to 255 bytes without NUL and '/', not '.' and not '..'. */
export function toName(bytes: Uint8Array, field = 'name'): Name {
  if (bytes.length > nameBytesMax) refuse('ENAMETOOLONG', field, `${bytes.length} bytes`)
  if (bytes.length === 0) refuse('EINVAL', field, 'empty')
  if (bytes.includes(0) || bytes.includes(0x2f)) refuse('EINVAL', field, 'contains NUL or /')
  const name = nameFromBytes(bytes)
  return name === '.' || name === '..' ? refuse('EINVAL', field, name) : name
}

/** A symlink's target: 1 to 4095 bytes without NUL. */
export function toSymlinkTarget(bytes: Uint8Array, field = 'target'): Name {
  if (bytes.length > symlinkBytesMax) refuse('ENAMETOOLONG', field, `${bytes.length} bytes`)
  if (bytes.length === 0 || bytes.includes(0)) refuse('EINVAL', field, 'empty or contains NUL')
  return nameFromBytes(bytes)
}

/** An extended attribute's name: 1 to 255 bytes without NUL. */
export function toXattrName(bytes: Uint8Array, field = 'name'): Name {
  if (bytes.length > xattrNameBytesMax) refuse('ERANGE', field, `${bytes.length} bytes`)
  if (bytes.length === 0 || bytes.includes(0)) refuse('EINVAL', field, 'empty or contains NUL')
  return nameFromBytes(bytes)
}
