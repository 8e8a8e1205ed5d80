import test from 'ava'
import fc from 'fast-check'
import type { Attr } from '#src/core/attr.ts'
import { ino } from '#src/core/ids.ts'
import { fileTimeMaxSeconds, fileTimeMinSeconds } from '#src/core/limits.ts'
import { nameFromBytes } from '#src/core/name.ts'
import {
  putAttr,
  readAttrChange,
  replyAbsent,
  replyAttr,
  replyEntry,
  replyStatx,
  splitTime,
} from '#src/fuse/codec/attr.ts'
import { DirentBuffer } from '#src/fuse/codec/dirents.ts'
import {
  invalidateAllNamesMessage,
  invalidateEntryMessage,
  invalidateInodeMessage,
} from '#src/fuse/codec/notifications.ts'
import { readOpenFlags, replyOpened } from '#src/fuse/codec/open-flags.ts'
import { Reply } from '#src/fuse/codec/reply.ts'
import { readHeader, Request } from '#src/fuse/codec/request.ts'
import { body, message } from '../support/fuse-messages.ts'

const time = fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n })
const u32 = fc.nat({ max: 2 ** 32 - 1 })
const attr: fc.Arbitrary<Attr> = fc.record({
  ino: fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }).map(ino),
  mode: fc.nat({ max: 0o177777 }),
  nlink: u32,
  uid: u32,
  gid: u32,
  rdev: u32,
  size: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  allocated: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  atime: time,
  mtime: time,
  ctime: time,
  btime: time,
})

function request(operation: Parameters<typeof message>[0], bytes: Buffer, structBytes: number): Request {
  const whole = message(operation, { body: bytes })
  const header = readHeader(whole)
  if (header === undefined) throw new Error('no header')
  const made = new Request(whole, header)
  made.check(structBytes)
  return made
}

/** What a reply sends, behind its header. */
function encoded(write: (reply: Reply) => void): Buffer {
  const reply = new Reply()
  reply.start(7)
  write(reply)
  reply.finish()
  return Buffer.concat([reply.head.subarray(16, reply.length), ...reply.pieces])
}

/** struct fuse_attr, read field by field as linux/fuse.h lays it out. */
function parseAttr(bytes: Buffer, at: number) {
  const u64 = (offset: number): bigint => bytes.readBigUInt64LE(at + offset)
  const word = (offset: number): number => bytes.readUInt32LE(at + offset)
  const when = (seconds: number, nanos: number): bigint =>
    bytes.readBigInt64LE(at + seconds) * 1_000_000_000n + BigInt(word(nanos))
  return {
    ino: u64(0),
    size: u64(8),
    blocks: u64(16),
    atime: when(24, 48),
    mtime: when(32, 52),
    ctime: when(40, 56),
    mode: word(60),
    nlink: word(64),
    uid: word(68),
    gid: word(72),
    rdev: word(76),
    blksize: word(80),
  }
}

const wireAttr = ({ ino, size, allocated, atime, mtime, ctime, mode, nlink, uid, gid, rdev }: Attr) => ({
  ...{
    ino: ino as bigint,
    size: BigInt(size),
    blocks: (BigInt(allocated) + 511n) / 512n,
    atime,
    mtime,
    ctime,
  },
  ...{ mode, nlink, uid, gid, rdev, blksize: 65536 },
})

test('times split into whole seconds, rounded down, and nanoseconds', t => {
  fc.assert(
    fc.property(time, value => {
      const { seconds, nanos } = splitTime(value)
      t.true(nanos >= 0 && nanos < 1e9)
      t.is(seconds * 1_000_000_000n + BigInt(nanos), value)
    }),
  )
})

test('attributes keep every bit', t => {
  fc.assert(
    fc.property(attr, value => {
      const bytes = Buffer.alloc(88, 0xff)
      putAttr(bytes, 0, value)
      t.deepEqual(parseAttr(bytes, 0), wireAttr(value))
    }),
  )
})

test('an entry has inode, generation 0 and both time-outs', t => {
  fc.assert(
    fc.property(attr, fc.nat({ max: 1e9 }), fc.nat({ max: 1e9 }), (value, nameTtlMs, attrTtlMs) => {
      const bytes = encoded(reply => replyEntry(reply, { attr: value, nameTtlMs, attrTtlMs }))
      t.is(bytes.length, 128)
      t.is(bytes.readBigUInt64LE(0), value.ino)
      t.is(bytes.readBigUInt64LE(8), 0n)
      t.is(Number(bytes.readBigUInt64LE(16)) * 1000 + bytes.readUInt32LE(32) / 1e6, nameTtlMs)
      t.is(Number(bytes.readBigUInt64LE(24)) * 1000 + bytes.readUInt32LE(36) / 1e6, attrTtlMs)
      t.deepEqual(parseAttr(bytes, 40), wireAttr(value))
    }),
  )
})

test('time-outs that are negative or for ever are held to what the kernel can add', t => {
  const [value] = fc.sample(attr, 1)
  if (value === undefined) throw new Error('no sample')
  const seconds = (ttl: number): bigint =>
    encoded(reply => replyAttr(reply, { attr: value, attrTtlMs: ttl })).readBigUInt64LE(0)
  t.is(seconds(-5), 0n)
  t.is(seconds(Infinity), 365n * 86_400n)
})

test('an absent name is node 0 with a time-out', t => {
  const bytes = encoded(reply => replyAbsent(reply, 1500))
  t.deepEqual([bytes.length, bytes.readBigUInt64LE(0)], [128, 0n])
  t.deepEqual([bytes.readBigUInt64LE(16), bytes.readUInt32LE(32)], [1n, 500_000_000])
})

test('statx has all of stat and the birth time', t => {
  fc.assert(
    fc.property(attr, value => {
      const bytes = encoded(reply => replyStatx(reply, { attr: value, attrTtlMs: 1 }))
      t.is(bytes.length, 288)
      const when = (at: number): bigint =>
        bytes.readBigInt64LE(at) * 1_000_000_000n + BigInt(bytes.readUInt32LE(at + 8))
      t.is(bytes.readUInt32LE(32), 0xfff)
      t.is(bytes.readUInt16LE(60), value.mode & 0xffff)
      t.is(bytes.readBigUInt64LE(64), value.ino)
      t.is(bytes.readBigUInt64LE(72), BigInt(value.size))
      t.deepEqual([96, 112, 128, 144].map(when), [value.atime, value.btime, value.ctime, value.mtime])
    }),
  )
})

test('a SETATTR changes what its valid bits say, and nothing else', t => {
  const fields = fc.record({
    valid: fc.nat({ max: 0xfff }),
    size: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
    seconds: fc.bigInt({ min: fileTimeMinSeconds + 1n, max: fileTimeMaxSeconds - 1n }),
    nanos: fc.nat({ max: 999_999_999 }),
    mode: u32,
    uid: u32,
    gid: u32,
  })
  fc.assert(
    fc.property(fields, ({ valid, size, seconds, nanos, mode, uid, gid }) => {
      const wire = BigInt.asUintN(64, seconds)
      const bytes = body(
        valid,
        0,
        77n,
        BigInt(size),
        0n,
        wire,
        wire,
        wire,
        nanos,
        nanos,
        nanos,
        mode,
        0,
        uid,
        gid,
        0,
      )
      t.is(bytes.length, 88)
      const { change, handle } = readAttrChange(request('SETATTR', bytes, 88))
      const has = (bit: number): boolean => (valid & (1 << bit)) !== 0
      const when = seconds * 1_000_000_000n + BigInt(nanos)
      t.is(handle, has(6) ? 77n : undefined)
      t.is(change.mode, has(0) ? mode & 0o7777 : undefined)
      t.is(change.uid, has(1) ? uid : undefined)
      t.is(change.gid, has(2) ? gid : undefined)
      t.is(change.size, has(3) ? size : undefined)
      t.is(change.atime, has(4) ? (has(7) ? 'now' : when) : undefined)
      t.is(change.mtime, has(5) ? (has(8) ? 'now' : when) : undefined)
      t.is(change.ctime, has(10) ? when : undefined)
      t.is(change.killSuidgid, has(11) ? true : undefined)
    }),
  )
})

test('a size beyond 2^53 is EFBIG, never another number', t => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), value => {
      const r = request('LSEEK', body(0n, value, 3, 0), 24)
      if (value <= BigInt(Number.MAX_SAFE_INTEGER)) t.is(BigInt(r.size(8, 'EFBIG')), value)
      else t.throws(() => r.size(8, 'EFBIG'), { name: 'FsError', message: /beyond/ })
    }),
  )
})

test('directory records hold every name, aligned, and stop before the buffer ends', t => {
  const names = fc.array(fc.uint8Array({ minLength: 1, maxLength: 255 }).map(nameFromBytes), {
    maxLength: 40,
  })
  fc.assert(
    fc.property(names, fc.boolean(), fc.integer({ min: 0, max: 6000 }), attr, (all, plus, room, value) => {
      const buffer = new DirentBuffer(room, plus)
      const taken: string[] = []
      for (const [index, name] of all.entries()) {
        const dirent = { name, ino: ino(BigInt(index) + 5n), type: 0o100000, cookie: BigInt(index) + 1n }
        if (!buffer.add(dirent, { attr: value, nameTtlMs: 0, attrTtlMs: 0 })) break
        taken.push(name)
      }
      const { bytes } = buffer
      t.true(bytes.length <= room)
      const found: string[] = []
      for (let at = 0; at < bytes.length; ) {
        t.is(at % 8, 0)
        const dirent = at + (plus ? 128 : 0)
        const length = bytes.readUInt32LE(dirent + 16)
        t.is(bytes.readBigUInt64LE(dirent), BigInt(found.length) + 5n)
        t.is(bytes.readBigUInt64LE(dirent + 8), BigInt(found.length) + 1n)
        t.is(bytes.readUInt32LE(dirent + 20), 8)
        found.push(bytes.toString('latin1', dirent + 24, dirent + 24 + length))
        at = (dirent + 24 + length + 7) & ~7
      }
      t.deepEqual(found, taken)
      t.is(buffer.counted.length, plus ? taken.filter(name => name !== '.' && name !== '..').length : 0)
    }),
  )
})

test('open flags are told apart, and come back as the kernel has them', t => {
  t.deepEqual(readOpenFlags(0o1 | 0o2000 | 0o10000 | 0x4000, 1, 0x4000), {
    read: false,
    write: true,
    append: true,
    truncate: false,
    sync: true,
    direct: true,
    noAtime: false,
    killSuidgid: true,
  })
  t.like(readOpenFlags(0o2 | 0o1000 | 0o1000000, 0, 0x4000), {
    read: true,
    write: true,
    truncate: true,
    noAtime: true,
  })
  t.like(readOpenFlags(0, 0, 0x4000), { read: true, write: false, sync: false })
  const flags = (opened: object): number =>
    encoded(r => replyOpened(r, { handle: 3n, ...opened })).readUInt32LE(8)
  t.is(flags({}), 0)
  t.is(flags({ keepCache: true }), 2)
  t.is(flags({ directIo: true, noFlush: true }), 1 | 32 | 64)
  t.is(flags({ cacheDirectory: true, nonSeekable: true }), 8 | 4)
})

test('notifications have their code in place of an error, and no request', t => {
  const inode = invalidateInodeMessage(ino(9n), -1, 0)
  t.deepEqual(
    [inode.length, inode.readUInt32LE(0), inode.readInt32LE(4), inode.readBigUInt64LE(8)],
    [40, 40, 2, 0n],
  )
  t.deepEqual([inode.readBigUInt64LE(16), inode.readBigInt64LE(24)], [9n, -1n])
  const entry = invalidateEntryMessage(ino(9n), nameFromBytes(Uint8Array.of(0xff, 0x61)))
  t.deepEqual([entry.length, entry.readInt32LE(4), entry.readUInt32LE(24)], [35, 3, 2])
  t.deepEqual([...entry.subarray(32)], [0xff, 0x61, 0])
  t.is(invalidateAllNamesMessage().toString('hex'), `1000000008000000${'00'.repeat(8)}`)
})
