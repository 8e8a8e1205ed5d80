/** What mounts hear of a node that makes them wait for the rate of their export, in virtual time. */
import test, { type ExecutionContext } from 'ava'
import { Authority } from '#src/chunkserver/rpc/authority.ts'
import { BlocksService } from '#src/chunkserver/rpc/blocks-service.ts'
import { Peers } from '#src/chunkserver/rpc/peers.ts'
import { ReadRates } from '#src/chunkserver/rpc/read-rates.ts'
import { UserActivity } from '#src/chunkserver/rpc/user-activity.ts'
import { BlockLink } from '#src/client/blocks/block-link.ts'
import { raceCopies } from '#src/client/read/race-copies.ts'
import { blockIdToBytes } from '#src/core/ids.ts'
import { pieceBytes } from '#src/core/limits.ts'
import { KiB, MiB } from '#src/core/units.ts'
import { makeReadToken, readerOf, readKey } from '#src/wire/read-token.ts'
import { blocksOpen } from '#src/wire/services.ts'
import { VirtualEnv } from '../client/data/virtual-env.ts'
import { PairNetwork } from '../client/pair-network.ts'
import { MemoryDisk } from './support/memory-disk.ts'
import { TestClient, type TestBlock, testBlock } from './support/test-client.ts'
import { checksums, cluster, key, now, openStore, temporaryFolder, wireReadKey } from './support/test-node.ts'

const node = 1n
const stallMs = 5000

/** A node with these blocks, and what a mount of an export of that rate asks it with. */
async function paced(t: ExecutionContext, bytesPerSecond: number, blocks: readonly TestBlock[]) {
  const env = new VirtualEnv()
  const store = await env.run(openStore(await temporaryFolder(t), { env, disk: new MemoryDisk() }))
  t.teardown(() => store.close())
  await env.run(store.join(cluster, node))
  const authority = new Authority(env.clock)
  authority.noteTime(now)
  authority.accept({ cluster, node, incarnation: store.identity.incarnation, key, blockBytes: 4 * MiB })
  authority.noteReadKeys([wireReadKey])
  const network = new PairNetwork()
  const readRates = new ReadRates(env)
  const service = new BlocksService({
    ...{ env, store, authority, peers: new Peers(env, network), checksums, readRates },
    ...{ users: new UserActivity(env.clock), host: 'test-host' },
  })
  await network.listen('n1', serving => service.register(serving))
  const writer = new TestClient(network, 'n1').hello()
  for (const block of blocks) {
    // Blocks are verified by threads, which know nothing of virtual time.
    const [outcome] =
      block.length > pieceBytes
        ? await writer.put(block, [{ node, address: 'n1' }])
        : await writer.putSmall(node, [block])
    t.is(outcome?.error, undefined)
  }
  const expiry = Number(now / 1_000_000_000n) + 600
  const terms = { export: 7n, bytesPerSecond, mayReadFiles: false }
  const secret = readKey(wireReadKey.id, wireReadKey.key)
  const tokenOf = ({ id }: TestBlock): Buffer =>
    makeReadToken(secret, readerOf(3n, 1n), expiry, blockIdToBytes(id), terms)
  const dial = (): BlockLink =>
    new BlockLink(env, network.dial('n1', blocksOpen), { cluster, session: 3n, epoch: 1n }, () => undefined)
  return { env, service, tokenOf, dial }
}

test('of many gets at a low rate none fails, and no other copy is asked', async t => {
  const length = 2 * MiB
  const blocks = Array.from({ length: 12 }, (_, index) => testBlock(length, index))
  const rate = 512 * KiB
  const { env, tokenOf, dial } = await paced(t, rate, blocks)
  const link = dial()
  const began = env.nowMs
  let others = 0
  const gets = blocks.map(async block => {
    const parts: Uint8Array[] = []
    const what = { id: blockIdToBytes(block.id), offset: 0, length, local: false, token: tokenOf(block) }
    const done = await raceCopies(env.timers, {
      copies: ['this', 'other'],
      begin: (copy, signal) => {
        if (copy === 'other') others++
        const asked =
          copy === 'this'
            ? link.get(what, ({ data }) => void parts.push(Buffer.from(data)), stallMs, signal)
            : Promise.reject(new Error('the other copy was asked'))
        return { done: asked, heard: () => link.heardAt }
      },
      failed: (copy, thrown) => t.fail(`${copy}: ${String(thrown)}`),
      quiet: copy => t.fail(`${copy} is quiet`),
    })
    t.is(done, 'this')
    t.true(Buffer.concat(parts).equals(block.data))
  })
  await env.run(Promise.all(gets))
  const seconds = (env.nowMs - began) / 1000
  const least = (blocks.length * length) / rate
  t.true(seconds > least - 5 && seconds < least + 5, `${seconds} s of ${least}`)
  t.is(others, 0)
})

test('small blocks that wait for the rate come together', async t => {
  const blocks = Array.from({ length: 32 }, (_, index) => testBlock(64 * KiB, index))
  const { env, tokenOf, dial } = await paced(t, 128 * KiB, blocks)
  const link = dial()
  const got = new Set<number>()
  const asked = Array.from({ length: 16 }, async (_, group) => {
    const mine = blocks.slice(2 * group, 2 * group + 2)
    const what = { ids: mine.map(({ id }) => blockIdToBytes(id)), tokens: mine.map(tokenOf) }
    await link.getSmall(
      what,
      (index, data) => {
        t.true(mine[index]?.data.equals(data))
        got.add(2 * group + index)
      },
      3000,
    )
  })
  await env.run(Promise.all(asked))
  t.is(got.size, blocks.length)
})

test('who asks and gives up gets no more than the rate', async t => {
  const blocks = Array.from({ length: 16 }, (_, index) => testBlock(64 * KiB, index))
  const rate = 256 * KiB
  const { env, service, tokenOf, dial } = await paced(t, rate, blocks)
  const what = { ids: blocks.map(({ id }) => blockIdToBytes(id)), tokens: blocks.map(tokenOf) }
  const began = env.nowMs
  const before = service.traffic.sentBytes
  const rounds = 20
  for (let round = 0; round < rounds; round++) {
    // Its streams break while it waits, again and again.
    const link = dial()
    for (let i = 0; i < 4; i++) link.getSmall(what, () => undefined, stallMs).catch(() => undefined)
    await env.pass(900)
    link.close()
    await env.pass(100)
  }
  const most = ((env.nowMs - began) / 1000 + 1) * rate + blocks.length * 64 * KiB
  const sent = service.traffic.sentBytes - before
  t.true(sent > 0 && sent <= most, `${sent} of ${most}`)
})
