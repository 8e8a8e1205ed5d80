import test from 'ava'
import fc from 'fast-check'
import type { Attr } from '#src/core/attr.ts'
import { errno, FsError } from '#src/core/errors.ts'
import { ino } from '#src/core/ids.ts'
import { fileBytesMax } from '#src/core/limits.ts'
import * as wire from '#src/wire/attr.ts'
import { Attr as WireAttr } from '#src/wire/gen/cairn/v1/common.ts'
import { LockKind, type LeaseKind } from '#src/wire/gen/cairn/v1/session.ts'

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const size = fc.maxSafeInteger().map(value => Math.abs(value) % (fileBytesMax + 1))
const time = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
const attrs: fc.Arbitrary<Attr> = fc.record({
  ino: fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }).map(ino),
  mode: fc.integer({ min: 0, max: 0o177777 }),
  nlink: u32,
  uid: u32,
  gid: u32,
  rdev: u32,
  size,
  allocated: size,
  atime: time,
  mtime: time,
  ctime: time,
  btime: time,
})

test('attributes survive the wire', t => {
  fc.assert(
    fc.property(attrs, attr => {
      const bytes = WireAttr.encode(wire.attrToWire(attr)).finish()
      t.deepEqual(wire.attrFromWire(WireAttr.decode(bytes)), attr)
    }),
  )
})

test('attributes out of bounds are refused by field', t => {
  const good = wire.attrToWire({
    ...fc.sample(attrs, 1)[0],
  } as Attr)
  t.throws(() => wire.attrFromWire(undefined, 'reply.attr'), { message: 'reply.attr: missing' })
  t.throws(() => wire.attrFromWire({ ...good, ino: 0n }), { message: /^attr\.ino: / })
  t.throws(() => wire.attrFromWire({ ...good, size: 2n ** 60n }), { message: /^attr\.size: / })
  t.throws(() => wire.attrFromWire({ ...good, mode: 0x10000 }), { message: /^attr\.mode: / })
  t.is(wire.attrFromWireIfPresent(undefined), undefined)
})

test('locks, leases and times survive; unknown kinds and reversed ranges do not', t => {
  const holder = { owner: 2n ** 64n - 1n, flock: true }
  for (const kind of ['read', 'write', 'unlock'] as const) {
    const range = { kind, start: 5n, end: 2n ** 63n - 1n, pid: 7 }
    t.deepEqual(wire.lockFromWire(wire.lockToWire(range, holder)), { range, holder })
  }
  const lock = wire.lockToWire({ kind: 'read', start: 1n, end: 2n, pid: 0 }, holder)
  t.is(wire.lockRangeFromWire(lock).kind, 'read')
  t.throws(() => wire.lockRangeFromWire({ ...lock, kind: LockKind.LOCK_KIND_UNLOCK }))
  t.throws(() => wire.lockFromWire({ ...lock, start: 3n }), { message: 'lock: range from 3 to 2' })
  t.throws(() => wire.lockFromWire({ ...lock, end: 2n ** 63n }))
  t.throws(() => wire.lockFromWire({ ...lock, kind: 9 as LockKind }))
  for (const lease of ['none', 'read', 'write'] as const)
    t.is(wire.leaseFromWire(wire.leaseToWire(lease)), lease)
  t.throws(() => wire.leaseFromWire(3 as LeaseKind), { message: 'kind: unknown value 3' })
  for (const when of ['now', -1n, undefined] as const) t.is(wire.timeFromWire(wire.timeToWire(when)), when)
})

test('failures keep their errno and one bounded line', t => {
  for (const name of Object.keys(errno) as (keyof typeof errno)[]) {
    const back = wire.errorFromWire(wire.errorToWire(new FsError(name, `because of ${name}`)))
    t.is(back.code, name)
    t.is(back.message, `because of ${name}`)
  }
  t.is(wire.errorFromWire(wire.errorToWire(new TypeError('x'.repeat(10_000)))).message.length, 500)
  t.is(wire.errorToWire(new TypeError('a bug')).errno, errno.EIO)
  t.is(wire.errorFromWire({ errno: 4095, message: '' }).code, 'EIO')
})
