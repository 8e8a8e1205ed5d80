import type { Attr, AttrChange, TimeChange } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import { rootIno } from '../../core/ids.ts'
import { fileTimeMaxSeconds, fileTimeMinSeconds } from '../../core/limits.ts'
import { KiB, nsPerSecond } from '../../core/units.ts'
import type { AttrAnswer, Entry, Handle } from '../filesystem.ts'
import { entryBytes, fattr, statxMask } from './abi.ts'
import type { Reply } from './reply.ts'
import type { Request } from './request.ts'

/**
 * st_blksize: the buffer that stdio, cp and others choose. Each of their writes is a request, since the
 * kernel does not gather writes for us; 64 KiB makes them few without making small files expensive. The
 * kernel keeps only its logarithm, so it is a power of two.
 */
export const blksize = 64 * KiB

/** Unit of st_blocks. */
const blockUnit = 512

/** Splits into whole seconds, rounded down, and nanoseconds: times before 1970 are negative. */
export function splitTime(time: bigint): { readonly seconds: bigint; readonly nanos: number } {
  let seconds = time / nsPerSecond
  let nanos = Number(time - seconds * nsPerSecond)
  if (nanos < 0) {
    nanos += 1e9
    seconds -= 1n
  }
  return { seconds, nanos }
}

/** struct fuse_attr at `at`. */
export function putAttr(to: Buffer, at: number, attr: Attr): void {
  const atime = splitTime(attr.atime)
  const mtime = splitTime(attr.mtime)
  const ctime = splitTime(attr.ctime)
  to.writeBigUInt64LE(attr.ino, at)
  putSize(to, at + 8, attr.size)
  putSize(to, at + 16, Math.ceil(attr.allocated / blockUnit))
  to.writeBigInt64LE(atime.seconds, at + 24)
  to.writeBigInt64LE(mtime.seconds, at + 32)
  to.writeBigInt64LE(ctime.seconds, at + 40)
  to.writeUInt32LE(atime.nanos, at + 48)
  to.writeUInt32LE(mtime.nanos, at + 52)
  to.writeUInt32LE(ctime.nanos, at + 56)
  to.writeUInt32LE(attr.mode, at + 60)
  to.writeUInt32LE(attr.nlink, at + 64)
  to.writeUInt32LE(attr.uid, at + 68)
  to.writeUInt32LE(attr.gid, at + 72)
  to.writeUInt32LE(attr.rdev, at + 76)
  to.writeUInt32LE(blksize, at + 80)
  to.writeUInt32LE(0, at + 84)
}

/** struct fuse_entry_out at `at`. Inode numbers are never reused, so that their generation is always 0. */
export function putEntry(to: Buffer, at: number, entry: Entry): void {
  to.writeBigUInt64LE(entry.attr.ino, at)
  putSize(to, at + 8, 0)
  putSize(to, at + 16, ttlSeconds(entry.nameTtlMs))
  putSize(to, at + 24, ttlSeconds(entry.attrTtlMs))
  to.writeUInt32LE(ttlNanos(entry.nameTtlMs), at + 32)
  to.writeUInt32LE(ttlNanos(entry.attrTtlMs), at + 36)
  putAttr(to, at + 40, entry.attr)
}

export function replyEntry(reply: Reply, entry: Entry): void {
  const at = reply.reserve(entryBytes)
  putEntry(reply.head, at, entry)
  // Only `..` leads there.
  if (entry.attr.ino === reply.root) reply.head.writeBigUInt64LE(rootIno, at)
}

/** A name that does not exist, which the kernel may remember: node 0. */
export function replyAbsent(reply: Reply, nameTtlMs: number): void {
  const at = reply.length
  reply.zeros(entryBytes)
  putSize(reply.head, at + 16, ttlSeconds(nameTtlMs))
  reply.head.writeUInt32LE(ttlNanos(nameTtlMs), at + 32)
}

/** struct fuse_attr_out */
export function replyAttr(reply: Reply, answer: AttrAnswer): void {
  reply.size(ttlSeconds(answer.attrTtlMs))
  reply.u32(ttlNanos(answer.attrTtlMs))
  reply.u32(0)
  putAttr(reply.head, reply.reserve(88), answer.attr)
}

/** struct fuse_statx_out */
export function replyStatx(reply: Reply, { attr, attrTtlMs }: AttrAnswer): void {
  reply.size(ttlSeconds(attrTtlMs))
  reply.u32(ttlNanos(attrTtlMs))
  reply.u32(0)
  reply.zeros(16)
  reply.u32(statxMask)
  reply.u32(blksize)
  reply.size(0)
  reply.u32(attr.nlink)
  reply.u32(attr.uid)
  reply.u32(attr.gid)
  reply.u16(attr.mode)
  reply.u16(0)
  reply.u64(attr.ino)
  reply.size(attr.size)
  reply.size(Math.ceil(attr.allocated / blockUnit))
  reply.size(0)
  for (const time of [attr.atime, attr.btime, attr.ctime, attr.mtime]) {
    const { seconds, nanos } = splitTime(time)
    reply.u64(BigInt.asUintN(64, seconds))
    reply.u32(nanos)
    reply.u32(0)
  }
  reply.u32((attr.rdev >>> 8) & 0xfff)
  reply.u32((attr.rdev & 0xff) | ((attr.rdev >>> 12) & 0xfff00))
  reply.zeros(8 + 14 * 8)
}

/** struct fuse_setattr_in: what is to change, and the open file it came through. */
export function readAttrChange(r: Request): {
  readonly change: AttrChange
  readonly handle: Handle | undefined
} {
  const valid = r.u32(0)
  const has = (bit: number): boolean => (valid & bit) !== 0
  const change: { -readonly [Key in keyof AttrChange]: AttrChange[Key] } = {}
  if (has(fattr.MODE)) change.mode = r.u32(68) & 0o7777
  if (has(fattr.UID)) change.uid = r.u32(76)
  if (has(fattr.GID)) change.gid = r.u32(80)
  if (has(fattr.SIZE)) change.size = r.size(16, 'EFBIG')
  if (has(fattr.ATIME)) change.atime = time(r, has(fattr.ATIME_NOW), 32, 56)
  if (has(fattr.MTIME)) change.mtime = time(r, has(fattr.MTIME_NOW), 40, 60)
  if (has(fattr.CTIME)) change.ctime = time(r, false, 48, 64)
  if (has(fattr.KILL_SUIDGID)) change.killSuidgid = true
  return { change, handle: has(fattr.FH) ? r.u64(8) : undefined }
}

function time(r: Request, now: boolean, secondsAt: number, nanosAt: number): TimeChange {
  if (now) return 'now'
  const nanos = r.u32(nanosAt)
  if (nanos > 999_999_999) throw new FsError('EINVAL', `${nanos} nanoseconds in a time to set`)
  const seconds = r.i64(secondsAt)
  if (seconds >= fileTimeMaxSeconds) return fileTimeMaxSeconds * nsPerSecond
  if (seconds <= fileTimeMinSeconds) return fileTimeMinSeconds * nsPerSecond
  return seconds * nsPerSecond + BigInt(nanos)
}

function putSize(to: Buffer, at: number, value: number): void {
  to.writeUInt32LE(value >>> 0, at)
  to.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4)
}

/** Time-outs are never negative and at most a year, which is as good as for ever. */
const clampTtl = (ms: number): number => Math.min(Math.max(ms, 0), 365 * 86_400_000)
const ttlSeconds = (ms: number): number => Math.floor(clampTtl(ms) / 1000)
const ttlNanos = (ms: number): number => Math.floor((clampTtl(ms) % 1000) * 1e6)
