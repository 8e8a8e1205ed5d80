import { assert } from '../../core/assert.ts'
import type { LockRange } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import { keptBytes, type ReadBytes } from '../../core/read-bytes.ts'
import {
  fallocFlag,
  fsyncDataOnly,
  lkFlock,
  lockEndMax,
  lockType,
  oFlag,
  readLockOwner,
  releaseFlockUnlock,
  seekWhence,
  writeCache,
  writeKillSuidgid,
} from '../codec/abi.ts'
import { DirentBuffer } from '../codec/dirents.ts'
import { requestDataMax } from '../codec/init.ts'
import { readOpenFlags, replyOpened } from '../codec/open-flags.ts'
import type { Reply } from '../codec/reply.ts'
import type { Request } from '../codec/request.ts'
import type { Answer, FallocateMode, FileSystem, Opened } from '../filesystem.ts'
import { operation, then } from './operation.ts'

/** An opened inode; the inode is needed to close it again if nobody hears of it. */
interface OpenedOf {
  readonly node: Ino
  readonly opened: Opened
}

/** The largest count that the 32-bit answer of COPY_FILE_RANGE (opcode 47) holds, in whole pages. */
const copied32Max = 0xffff_f000

/** A count of bytes that may be beyond what a file can have: as much as fits. */
const clipped = (size: number | undefined): number => Math.min(size ?? Infinity, Number.MAX_SAFE_INTEGER)

function dataSize(size: number): number {
  if (size > requestDataMax) throw new FsError('EINVAL', `${size} bytes asked for in one request`)
  return size
}

function read(fs: FileSystem, r: Request): Answer<ReadBytes> {
  const offset = r.maybeSize(8)
  const size = dataSize(r.u32(16))
  // No file reaches that far: the end of the file, as on ext4.
  if (offset === undefined) return keptBytes([])
  // The kernel names the owner of locks just where the bytes go to the caller's memory.
  const fills = (r.u32(20) & readLockOwner) === 0
  return then(fs.read(r.node, r.u64(0), offset, size, fills, r), found => {
    let bytes = 0
    for (const piece of found.pieces) bytes += piece.length
    assert(bytes <= size, () => `read returned ${bytes} bytes of ${size}`)
    return found
  })
}

function write(fs: FileSystem, r: Request): Answer<number> {
  const offset = r.size(8, 'EFBIG')
  const data = r.data(r.u32(16))
  if (!Number.isSafeInteger(offset + data.length)) throw new FsError('EFBIG')
  const writeFlags = r.u32(20)
  const openFlags = r.u32(32)
  const flags = {
    fromCache: (writeFlags & writeCache) !== 0,
    append: (openFlags & oFlag.APPEND) !== 0,
    sync: (openFlags & oFlag.DSYNC) !== 0,
    killSuidgid: (writeFlags & writeKillSuidgid) !== 0,
  }
  return then(fs.write(r.node, r.u64(0), offset, data, flags, r), written => {
    assert(written >= 0 && written <= data.length, () => `write took ${written} bytes of ${data.length}`)
    return written
  })
}

function readdir(fs: FileSystem, r: Request, plus: boolean): Answer<DirentBuffer> {
  const cookie = r.u64(8)
  const entries = new DirentBuffer(dataSize(r.u32(16)), plus)
  return then(fs.readdir(r.node, r.u64(0), cookie, plus, entries.add, r), () => entries)
}

const replyDirents = (reply: Reply, entries: DirentBuffer): void => reply.data([entries.bytes])

/** struct fuse_lk_in, but for its type. */
function readLock(r: Request): { readonly start: bigint; readonly end: bigint; readonly pid: number } {
  const start = r.u64(16)
  const end = r.u64(24)
  if (start > end || end > lockEndMax) throw new FsError('EINVAL', `lock from ${start} to ${end}`)
  return { start, end, pid: r.u32(36) }
}

function lockKind(type: number): 'read' | 'write' | 'unlock' {
  if (type === lockType.read) return 'read'
  if (type === lockType.write) return 'write'
  if (type === lockType.unlock) return 'unlock'
  throw new FsError('EINVAL', `lock type ${type}`)
}

function setlk(fs: FileSystem, r: Request, wait: boolean): Answer<void> {
  const range = { ...readLock(r), kind: lockKind(r.u32(32)) }
  return fs.setlk(r.node, r.u64(0), r.u64(8), range, (r.u32(40) & lkFlock) !== 0, wait, r)
}

/** struct fuse_lk_out; an unlocked range says that nothing is in the way. */
function replyLock(reply: Reply, lock: LockRange | undefined): void {
  reply.u64(lock?.start ?? 0n)
  reply.u64(lock?.end ?? 0n)
  reply.u32(lock === undefined ? lockType.unlock : lockType[lock.kind])
  reply.u32(lock?.pid ?? 0)
}

const fallocateModes = new Map<number, FallocateMode>(
  [
    0,
    fallocFlag.KEEP_SIZE,
    fallocFlag.PUNCH_HOLE | fallocFlag.KEEP_SIZE,
    fallocFlag.ZERO_RANGE,
    fallocFlag.ZERO_RANGE | fallocFlag.KEEP_SIZE,
  ].map(mode => [
    mode,
    {
      keepSize: (mode & fallocFlag.KEEP_SIZE) !== 0,
      punchHole: (mode & fallocFlag.PUNCH_HOLE) !== 0,
      zeroRange: (mode & fallocFlag.ZERO_RANGE) !== 0,
    },
  ]),
)

function fallocate(fs: FileSystem, r: Request): Answer<void> {
  const mode = fallocateModes.get(r.u32(24))
  if (mode === undefined) throw new FsError('EOPNOTSUPP', `fallocate mode ${r.u32(24)}`)
  const offset = r.size(8, 'EFBIG')
  const length = r.size(16, 'EFBIG')
  if (length === 0) throw new FsError('EINVAL')
  if (!Number.isSafeInteger(offset + length)) throw new FsError('EFBIG')
  return fs.fallocate(r.node, r.u64(0), offset, length, mode, r)
}

function lseek(fs: FileSystem, r: Request): Answer<number> {
  const whence = r.u32(16)
  if (whence !== seekWhence.DATA && whence !== seekWhence.HOLE)
    throw new FsError('EINVAL', `whence ${whence}`)
  const offset = r.size(8, 'ENXIO')
  return fs.lseek(r.node, r.u64(0), offset, whence === seekWhence.DATA ? 'data' : 'hole', r)
}

function copyFileRange(fs: FileSystem, r: Request, most: number): Answer<number> {
  const offsetIn = r.maybeSize(8)
  const offsetOut = r.size(32, 'EFBIG')
  const length = Math.min(clipped(r.maybeSize(40)), most)
  if (r.u64(48) !== 0n) throw new FsError('EINVAL', `copy_file_range flags ${r.u64(48)}`)
  // Nothing is there to be copied.
  if (offsetIn === undefined) return 0
  const from = { ino: r.node, handle: r.u64(0), offset: offsetIn }
  const to = { ino: r.inode(16), handle: r.u64(24), offset: offsetOut }
  return fs.copyFileRange(from, to, length, r)
}

/** Operations on open files and directories. */
export const fileOperations = {
  OPEN: operation<OpenedOf>({
    inBytes: 8,
    run: (fs, r, { directBit }) => {
      const { node } = r
      return then(fs.open(node, readOpenFlags(r.u32(0), r.u32(4), directBit), r), opened => ({
        node,
        opened,
      }))
    },
    reply: (reply, { opened }) => replyOpened(reply, opened),
    undo: (fs, { node, opened }) => fs.release(node, opened.handle, undefined),
  }),
  READ: operation<ReadBytes>({
    inBytes: 40,
    run: read,
    reply: (reply, { pieces }) => reply.data(pieces),
    sent: ({ release }) => release(),
    undo: (_fs, { release }) => release(),
  }),
  WRITE: operation<number>({
    inBytes: 40,
    lendsRequest: true,
    run: write,
    reply: (reply, written) => {
      reply.u32(written)
      reply.u32(0)
    },
  }),
  FLUSH: operation({ inBytes: 24, run: (fs, r) => fs.flush(r.node, r.u64(0), r.u64(16), r) }),
  FSYNC: operation({
    inBytes: 16,
    run: (fs, r) => fs.fsync(r.node, r.u64(0), (r.u32(8) & fsyncDataOnly) !== 0, r),
  }),
  RELEASE: operation({
    inBytes: 24,
    run: (fs, r) =>
      fs.release(r.node, r.u64(0), (r.u32(12) & releaseFlockUnlock) !== 0 ? r.u64(16) : undefined),
  }),

  OPENDIR: operation<OpenedOf>({
    inBytes: 8,
    run: (fs, r) => {
      const { node } = r
      return then(fs.opendir(node, r), opened => ({ node, opened }))
    },
    reply: (reply, { opened }) => replyOpened(reply, opened),
    undo: (fs, { node, opened }) => fs.releasedir(node, opened.handle),
  }),
  READDIR: operation({ inBytes: 40, run: (fs, r) => readdir(fs, r, false), reply: replyDirents }),
  READDIRPLUS: operation<DirentBuffer>({
    inBytes: 40,
    run: (fs, r) => readdir(fs, r, true),
    reply: replyDirents,
    undo: (fs, entries) => {
      for (const ino of entries.counted) fs.forget(ino, 1)
    },
  }),
  FSYNCDIR: operation({
    inBytes: 16,
    run: (fs, r) => fs.fsyncdir(r.node, r.u64(0), (r.u32(8) & fsyncDataOnly) !== 0, r),
  }),
  RELEASEDIR: operation({ inBytes: 24, run: (fs, r) => fs.releasedir(r.node, r.u64(0)) }),

  GETLK: operation<LockRange | undefined>({
    inBytes: 48,
    run: (fs, r) => fs.getlk(r.node, r.u64(0), r.u64(8), { ...readLock(r), kind: lockKind(r.u32(32)) }, r),
    reply: replyLock,
  }),
  SETLK: operation({ inBytes: 48, run: (fs, r) => setlk(fs, r, false) }),
  SETLKW: operation({ inBytes: 48, lasting: true, run: (fs, r) => setlk(fs, r, true) }),

  FALLOCATE: operation({ inBytes: 32, run: fallocate }),
  LSEEK: operation<number>({ inBytes: 24, run: lseek, reply: (reply, offset) => reply.size(offset) }),
  COPY_FILE_RANGE: operation<number>({
    inBytes: 56,
    run: (fs, r) => copyFileRange(fs, r, copied32Max),
    reply: (reply, copied) => {
      reply.u32(copied)
      reply.u32(0)
    },
  }),
  COPY_FILE_RANGE_64: operation<number>({
    inBytes: 56,
    run: (fs, r) => copyFileRange(fs, r, Number.MAX_SAFE_INTEGER),
    reply: (reply, copied) => reply.size(copied),
  }),
}
