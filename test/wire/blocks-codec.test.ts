import test from 'ava'
import fc from 'fast-check'
import { FsError } from '#src/core/errors.ts'
import { blocksDownCodec, blocksUpCodec } from '#src/wire/blocks-codec.ts'
import {
  BlocksDown,
  BlocksUp,
  type GetData,
  type PutSmall,
  type SmallBlock,
} from '#src/wire/gen/cairn/v1/blocks.ts'
import { sessionAttach } from '#src/wire/services.ts'

const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.integer({ min: 0, max: 40_000 }).map(length => new Uint8Array(length).fill(length)),
)
const grant = fc.record({
  node: u64,
  generation: u64,
  session: u64,
  epoch: u64,
  expiry: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  mac: fc.uint8Array({ maxLength: 32 }),
  dedupDomain: fc.uint8Array({ maxLength: 16 }),
})
const smallBlock: fc.Arbitrary<SmallBlock> = fc.record({
  block: fc.option(
    fc.record({
      id: fc.uint8Array({ maxLength: 32 }),
      length: u32,
      checksums: fc.uint8Array({ maxLength: 64 }),
    }),
    { nil: undefined },
  ),
  grant: fc.option(grant, { nil: undefined }),
  data: bytes,
})
const putSmall: fc.Arbitrary<PutSmall> = fc.record({
  call: u64,
  blocks: fc.array(smallBlock, { maxLength: 5 }),
})
const getData: fc.Arbitrary<GetData> = fc.record({
  call: u64,
  offset: u32,
  blockLength: u32,
  checksums: fc.uint8Array({ maxLength: 200 }),
  last: fc.boolean(),
  inFile: fc.boolean(),
  data: bytes,
})
const up: fc.Arbitrary<BlocksUp> = fc.oneof(
  fc.record({ call: u64, data: bytes }).map(value => ({ item: { $case: 'data' as const, value } })),
  putSmall.map(value => ({ item: { $case: 'putSmall' as const, value } })),
  fc.record({ call: u64 }).map(value => ({ item: { $case: 'cancel' as const, value } })),
  fc.constant({ item: undefined }),
)
const down: fc.Arbitrary<BlocksDown> = fc.oneof(
  getData.map((value): BlocksDown => ({ item: { $case: 'data', value } })),
  u64.map((call): BlocksDown => ({ item: { $case: 'put', value: { call, outcomes: [] } } })),
)

test('frames of data are, byte for byte, what the generated code makes of them', t => {
  fc.assert(
    fc.property(up, frame => {
      const expected = Buffer.from(BlocksUp.encode(frame).finish())
      t.true(expected.equals(blocksUpCodec.encode(frame)))
      t.true(expected.equals(Buffer.concat(blocksUpCodec.encodeSegments?.(frame) ?? [])))
    }),
  )
  fc.assert(
    fc.property(down, frame => {
      const expected = Buffer.from(BlocksDown.encode(frame).finish())
      t.true(expected.equals(blocksDownCodec.encode(frame)))
      t.true(expected.equals(Buffer.concat(blocksDownCodec.encodeSegments?.(frame) ?? [])))
    }),
  )
})

test('data is neither copied into segments nor out of a message', t => {
  const data = new Uint8Array(100_000).fill(9)
  const frame: BlocksUp = { item: { $case: 'data', value: { call: 3n, data } } }
  t.is(blocksUpCodec.encodeSegments?.(frame)[1], data)
  const message = blocksUpCodec.encode(frame)
  const { item } = blocksUpCodec.decode(message)
  t.is(item?.$case, 'data')
  if (item?.$case === 'data') t.is(item.value.data.buffer, message.buffer)
})

test('bytes that are no frame are EPROTO, whatever they are', t => {
  const codecs = [blocksUpCodec, blocksDownCodec, sessionAttach.up, sessionAttach.down]
  let refused = 0
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), noise => {
      for (const codec of codecs) {
        try {
          codec.decode(noise)
        } catch (error) {
          refused++
          t.true(error instanceof FsError && error.code === 'EPROTO', String(error))
        }
      }
    }),
    { numRuns: 2000 },
  )
  t.true(refused > 1000)
})

test('a frame cut short is refused or lacks its end, and never throws anything but EPROTO', t => {
  const whole = blocksDownCodec.encode({
    item: {
      $case: 'data',
      value: {
        call: 1n,
        offset: 0,
        blockLength: 70_000,
        checksums: new Uint8Array(16),
        last: true,
        inFile: false,
        data: new Uint8Array(70_000),
      },
    },
  })
  for (const length of [1, 2, 3, 5, 9, 30, 69_999, whole.length - 1])
    t.throws(() => blocksDownCodec.decode(whole.subarray(0, length)), { instanceOf: FsError })
})
