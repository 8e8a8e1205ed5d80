import test from 'ava'
import fc from 'fast-check'
import { createHash } from 'node:crypto'
import { BlockIdHasher, blockIdOf, checksumsLength, createChecksums } from '#src/core/checksum.ts'
import type { BlockId } from '#src/core/ids.ts'
import { pieceBytes } from '#src/core/limits.ts'

const checksums = await createChecksums()

/** Not all the same, and cheap: xorshift. */
function data(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length)
  let state = (seed | 1) >>> 0
  for (let i = 0; i < length; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    bytes[i] = state
  }
  return bytes
}

/** The hash itself by an independent, slow implementation from its published description. */
function xxh64(input: Uint8Array, seed: bigint): bigint {
  const [p1, p2, p3, p4, p5] = [
    0x9e3779b185ebca87n,
    0xc2b2ae3d27d4eb4fn,
    0x165667b19e3779f9n,
    0x85ebca77c2b2ae63n,
    0x27d4eb2f165667c5n,
  ]
  const u = (value: bigint): bigint => BigInt.asUintN(64, value)
  const rotate = (value: bigint, by: bigint): bigint => u((value << by) | (value >> (64n - by)))
  const round = (acc: bigint, lane: bigint): bigint => u(rotate(u(acc + lane * p2), 31n) * p1)
  const merge = (acc: bigint, value: bigint): bigint => u((acc ^ round(0n, value)) * p1 + p4)
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength)
  let at = 0
  let acc: bigint
  if (input.length >= 32) {
    let [a, b, c, d] = [u(seed + p1 + p2), u(seed + p2), seed, u(seed - p1)]
    for (; at + 32 <= input.length; at += 32) {
      a = round(a, view.getBigUint64(at, true))
      b = round(b, view.getBigUint64(at + 8, true))
      c = round(c, view.getBigUint64(at + 16, true))
      d = round(d, view.getBigUint64(at + 24, true))
    }
    acc = u(rotate(a, 1n) + rotate(b, 7n) + rotate(c, 12n) + rotate(d, 18n))
    acc = merge(merge(merge(merge(acc, a), b), c), d)
  } else acc = u(seed + p5)
  acc = u(acc + BigInt(input.length))
  for (; at + 8 <= input.length; at += 8)
    acc = u(rotate(acc ^ round(0n, view.getBigUint64(at, true)), 27n) * p1 + p4)
  if (at + 4 <= input.length) {
    acc = u(rotate(acc ^ u(BigInt(view.getUint32(at, true)) * p1), 23n) * p2 + p3)
    at += 4
  }
  for (; at < input.length; at++) acc = u(rotate(acc ^ u(BigInt(view.getUint8(at)) * p5), 11n) * p1)
  acc = u((acc ^ (acc >> 33n)) * p2)
  acc = u((acc ^ (acc >> 29n)) * p3)
  return u(acc ^ (acc >> 32n))
}

test('checksums are as the wire describes them: seeded with the id and the number of the piece', t => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3 * pieceBytes }), fc.nat(), (length, seed) => {
      const bytes = data(length, seed)
      const id = blockIdOf(bytes)
      const made = checksums.make(id, bytes)
      t.is(made.length, checksumsLength(length))
      const last = Math.ceil(length / pieceBytes) - 1
      const expected = xxh64(bytes.subarray(last * pieceBytes), BigInt(`0x${id.slice(0, 16)}`) ^ BigInt(last))
      t.is(made.readBigUInt64BE(last * 8), expected)
    }),
    { numRuns: 10 },
  )
})

test('any seed of 64 bits is taken', t => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 100 }),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      (bytes, seed) => {
        t.is(checksums.xxh64(bytes, seed), xxh64(bytes, seed))
      },
    ),
  )
})

test('the id is the SHA-256, at once or in parts', t => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 8 }), parts => {
      const whole = Buffer.concat(parts)
      const expected = createHash('sha256').update(whole).digest('hex')
      const hasher = new BlockIdHasher()
      for (const part of parts) hasher.update(part)
      t.is(hasher.digest(), expected as BlockId)
      t.is(blockIdOf(whole), expected as BlockId)
    }),
  )
})

test('in a dedup domain the id is another one, at once or in parts, and of no content the SHA-256', t => {
  const domain = fc.uint8Array({ minLength: 16, maxLength: 16 })
  fc.assert(
    fc.property(domain, domain, fc.uint8Array({ maxLength: 500 }), fc.nat(500), (one, two, whole, at) => {
      const id = blockIdOf(whole, one)
      const parts = new BlockIdHasher(one).update(whole.subarray(0, at)).update(whole.subarray(at))
      t.is(parts.digest(), id)
      const plain = createHash('sha256').update(whole).digest()
      const outer = Buffer.concat([Buffer.from('cairn dedup'), one, plain])
      t.is(id, createHash('sha512-256').update(outer).digest('hex') as BlockId, 'as docs/formats.md has it')
      t.not(id, blockIdOf(whole))
      t.not(blockIdOf(outer), id, 'content that is what it is made of has another id')
      t.is(blockIdOf(whole, two) === id, Buffer.compare(one, two) === 0)
    }),
  )
  t.throws(() => blockIdOf(new Uint8Array(1), new Uint8Array(15)), { message: /dedup domain/ })
})

test('checksums of data in parts of any size are those of the whole', t => {
  const sizes = fc.array(
    fc.oneof(
      fc.integer({ min: 0, max: 1000 }),
      fc.integer({ min: pieceBytes - 2, max: pieceBytes + 2 }),
      fc.integer({ min: 0, max: 3 * pieceBytes }),
    ),
    { maxLength: 8 },
  )
  fc.assert(
    fc.property(sizes, fc.nat(), (lengths, seed) => {
      const whole = data(
        lengths.reduce((sum, length) => sum + length, 0),
        seed,
      )
      const id = blockIdOf(whole)
      const hasher = checksums.hasher(id)
      let at = 0
      for (const length of lengths) {
        hasher.update(whole.subarray(at, at + length))
        at += length
      }
      t.deepEqual(hasher.digest(), checksums.make(id, whole))
    }),
    { numRuns: 40 },
  )
})

test('any range of pieces can be verified by itself, and any flipped bit is found in its piece', t => {
  const pieces = 5
  const length = (pieces - 1) * pieceBytes + 1234
  const block = data(length, 99)
  const id = blockIdOf(block)
  const all = checksums.make(id, block)
  fc.assert(
    fc.property(fc.nat(pieces - 1), fc.nat(pieces), fc.nat(), (first, count, flip) => {
      const end = Math.min(length, (first + count) * pieceBytes)
      const part = block.slice(first * pieceBytes, end)
      const sums = all.subarray(first * 8, (first + Math.ceil(part.length / pieceBytes)) * 8)
      t.is(checksums.mismatch(id, part, sums, first), -1)
      if (part.length === 0) return
      const at = flip % part.length
      part[at] = (part[at] ?? 0) ^ (1 << (flip % 8))
      t.is(checksums.mismatch(id, part, sums, first), first + Math.floor(at / pieceBytes))
    }),
    { numRuns: 60 },
  )
})

test('right checksums of another block, another piece or another count do not pass', t => {
  const same = new Uint8Array(2 * pieceBytes)
  const id = blockIdOf(same)
  const sums = checksums.make(id, same)
  const piece = same.subarray(0, pieceBytes)
  t.is(checksums.mismatch(id, piece, sums.subarray(0, 8), 0), -1)
  t.is(checksums.mismatch(id, piece, sums.subarray(8), 0), 0, 'another piece with the same bytes')
  t.is(checksums.mismatch(blockIdOf(piece), piece, sums.subarray(0, 8), 0), 0, 'another block')
  t.is(checksums.mismatch(id, same, sums.subarray(0, 8), 0), 0, 'too few')
  t.is(checksums.mismatch(id, piece, sums, 0), 0, 'too many')
  t.is(checksums.mismatch(id, piece, new Uint8Array(0), 3), 3, 'none')
})
