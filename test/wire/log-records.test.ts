import fc from 'fast-check'
import test from 'ava'
import { createChecksums } from '#src/core/checksum.ts'
import { FsError } from '#src/core/errors.ts'
import {
  decodeRecord,
  encodeRecord,
  type LogRecordHead,
  pagesPerRecord,
  recordBytesMax,
  recordLengthAt,
  wholeRecord,
} from '#src/wire/log-records.ts'
import { HostileBytes } from '../support/hostile-bytes.ts'

const checksums = await createChecksums()

const u63 = fc.bigInt({ min: 0n, max: (1n << 63n) - 1n })
const record = fc
  .record({
    incarnation: u63,
    sequence: u63,
    time: fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }),
    databasePages: fc.nat(0xffff_ffff),
    pageBytes: fc.constantFrom(512, 1024, 4096, 65_536),
    numbers: fc.uniqueArray(fc.integer({ min: 1, max: 0xffff_ffff }), { maxLength: 5 }),
    seed: fc.nat(),
  })
  .map(({ numbers, seed, ...head }) => {
    const hostile = new HostileBytes(seed)
    const pages = numbers
      .sort((one, other) => one - other)
      .map(number => ({ number, data: hostile.bytes(head.pageBytes) }))
    return { head: head satisfies LogRecordHead, pages }
  })

test('a record says what went in, wherever it lies', t => {
  fc.assert(
    fc.property(record, fc.nat(100), fc.nat(100), ({ head, pages }, before, after) => {
      const bytes = encodeRecord(checksums, head, pages)
      const around = Buffer.concat([Buffer.alloc(before, 1), bytes, Buffer.alloc(after, 2)])
      const found = decodeRecord(checksums, around, before)
      const { pages: foundPages = [], ...rest } = found ?? {}
      t.deepEqual(rest, { ...head, length: bytes.length } as never)
      t.deepEqual(
        foundPages.map(({ number }) => number),
        pages.map(({ number }) => number),
      )
      t.true(foundPages.every(({ data }, at) => pages[at]?.data.equals(data) === true))
      t.is(recordLengthAt(around, before), bytes.length)
    }),
    { numRuns: 200 },
  )
})

test('no changed, cut or shifted byte passes', t => {
  fc.assert(
    fc.property(record, fc.nat(), fc.integer({ min: 1, max: 255 }), ({ head, pages }, where, change) => {
      const bytes = Buffer.from(encodeRecord(checksums, head, pages))
      const at = where % bytes.length
      bytes[at] = (bytes[at] ?? 0) ^ change
      t.is(decodeRecord(checksums, bytes), undefined, `byte ${at}`)
      bytes[at] = (bytes[at] ?? 0) ^ change
      t.is(decodeRecord(checksums, bytes.subarray(0, at)), undefined)
      if (at > 0) t.is(decodeRecord(checksums, bytes, at), undefined)
      t.throws(() => wholeRecord(checksums, Buffer.concat([bytes, Buffer.alloc(1)])), {
        instanceOf: FsError,
        code: 'EPROTO',
      })
    }),
    { numRuns: 200 },
  )
})

test('the longest record is as long as is said', t => {
  const pageBytes = 512
  const pages = Array.from({ length: pagesPerRecord(pageBytes) }, (_, at) => ({
    number: at + 1,
    data: Buffer.alloc(pageBytes, at),
  }))
  const head = { incarnation: 1n, sequence: 1n, time: 1n, databasePages: pages.length, pageBytes }
  t.is(encodeRecord(checksums, head, pages).length, recordBytesMax)
})

test('hostile bytes are no records, and are never more than a refusal', t => {
  const hostile = new HostileBytes(5)
  const head = { incarnation: 3n, sequence: 9n, time: 1n, databasePages: 4, pageBytes: 512 }
  const valid = encodeRecord(checksums, head, [{ number: 2, data: Buffer.alloc(512, 7) }])
  for (let round = 0; round < 20_000; round++) {
    const bytes = round % 3 === 0 ? hostile.bytes(hostile.below(3000)) : hostile.mutated(valid)
    const found = decodeRecord(checksums, bytes)
    if (found !== undefined) t.deepEqual(Buffer.from(bytes.subarray(0, found.length)), Buffer.from(valid))
  }
  t.pass()
})
