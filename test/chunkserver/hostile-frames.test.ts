import test from 'ava'
import type { Codec, StreamDef } from '#src/core/network.ts'
import { KiB } from '#src/core/units.ts'
import { blockIdToBytes } from '#src/core/ids.ts'
import { type BlocksUp } from '#src/wire/gen/cairn/v1/blocks.ts'
import { blocksUpCodec } from '#src/wire/blocks-codec.ts'
import { blocksOpen } from '#src/wire/services.ts'
import { HostileBytes, nested } from '../support/hostile-bytes.ts'
import { grantFor, metaOf, TestClient, testBlock, tokenFor } from './support/test-client.ts'
import { cluster, startNode } from './support/test-node.ts'

const asBytes: Codec<Uint8Array> = { encode: bytes => bytes, decode: bytes => bytes }
const raw: StreamDef<Uint8Array, Uint8Array> = { path: blocksOpen.path, up: asBytes, down: asBytes }
const fields = [1, 2, 3, 4, 5, 6, 7, 15]
const streams = 150
const framesPerStream = 12

const encoded = (item: BlocksUp['item']): Buffer => Buffer.from(blocksUpCodec.encode({ item }))

test('streams of hostile frames end alone, keep nothing and take nothing from the others', async t => {
  const node = await startNode(t, 1n)
  const hostile = new HostileBytes(7)
  const large = testBlock(200 * KiB, 1)
  const small = testBlock(500, 2)
  const bystander = new TestClient(node.network, node.address).hello()
  t.is((await bystander.put(small, [node]))[0]?.error, undefined)
  const valid = (call: bigint): Buffer[] => [
    encoded({
      $case: 'put',
      value: {
        call,
        block: metaOf(large),
        grant: grantFor(1n, large),
        chain: [],
        verifyId: true,
        patienceMs: 0,
      },
    }),
    encoded({ $case: 'data', value: { call, data: large.data.subarray(0, 90_000) } }),
    encoded({ $case: 'data', value: { call, data: large.data.subarray(90_000) } }),
    encoded({
      $case: 'putSmall',
      value: { call, blocks: [{ block: metaOf(small), grant: grantFor(1n, small), data: small.data }] },
    }),
    ...[false, true].map(local =>
      encoded({
        $case: 'get',
        value: {
          call,
          id: blockIdToBytes(small.id),
          offset: 0,
          length: 500,
          local,
          token: tokenFor(small.id),
        },
      }),
    ),
    encoded({ $case: 'cancel', value: { call } }),
  ]
  const hello = encoded({
    $case: 'hello',
    value: { versionMin: 1, versionMax: 1, cluster, session: 3n, epoch: 1n, host: '' },
  })
  const ended: Promise<void>[] = []
  for (let stream = 0; stream < streams; stream++) {
    const link = node.network.dial(node.address, raw)
    link.onFrame(() => undefined)
    ended.push(new Promise(resolve => link.onClose(() => resolve())))
    link.send(hostile.below(10) === 0 ? hostile.mutated(hello) : hello)
    for (let frame = 0; frame < framesPerStream; frame++) {
      const call = BigInt(hostile.below(4))
      const kind = hostile.below(10)
      if (kind === 0) link.send(hostile.message(fields))
      else if (kind === 1) link.send(nested(hostile.pick(fields), hostile.message(fields)))
      else if (kind < 5) link.send(hostile.mutated(hostile.pick(valid(call))))
      else link.send(hostile.pick(valid(call)))
    }
    if (stream % 10 === 9) {
      await bystander.get(small.id, 0, 500)
      link.close()
    } else setTimeout(() => link.close(), 200)
  }
  await Promise.all(ended)
  t.true((await bystander.get(small.id, 0, 500)).data.equals(small.data))
  // Nothing that was promised to a hostile stream is missing now.
  for (let seed = 10; seed < 40; seed++) {
    const block = testBlock(300 * KiB, seed)
    t.is((await bystander.put(block, [node]))[0]?.error, undefined)
    t.true((await bystander.get(block.id, 0, block.length)).data.equals(block.data))
  }
})
