/** Blocks whose ids are made with a dedup domain: only the master's grant says which, and nothing else is believed. */
import test from 'ava'
import { Copier } from '#src/chunkserver/copy/copier.ts'
import { Peers } from '#src/chunkserver/rpc/peers.ts'
import { UserActivity } from '#src/chunkserver/rpc/user-activity.ts'
import { blockIdOf } from '#src/core/checksum.ts'
import { errno } from '#src/core/errors.ts'
import { blockIdToBytes } from '#src/core/ids.ts'
import { KiB } from '#src/core/units.ts'
import { realEnv } from '#src/env/real-env.ts'
import { grantFor, metaOf, TestClient, testBlock, type TestBlock } from './support/test-client.ts'
import { checksums, quietLog, startNode, type TestNode } from './support/test-node.ts'

const connect = ({ network, address }: TestNode): TestClient => new TestClient(network, address).hello()
const [mine, theirs] = [Buffer.alloc(16, 1), Buffer.alloc(16, 2)]

function inDomain(block: TestBlock, domain: Uint8Array): TestBlock {
  const id = blockIdOf(block.data, domain)
  return { ...block, id, checksums: checksums.make(id, block.data) }
}

/** What a chain of nodes says to a block, by errno; undefined: stored. */
async function put(nodes: readonly TestNode[], block: TestBlock, domain: Uint8Array) {
  const [first] = nodes
  if (first === undefined) throw new Error('no node')
  const outcomes = await connect(first).put(block, nodes, 5n, { domain })
  return outcomes.map(({ error }) => error?.errno)
}

for (const length of [3 * KiB, 300 * KiB])
  test(`a block of ${length} bytes has the id of the domain that its grant says, or is refused`, async t => {
    const nodes = [await startNode(t, 1n), await startNode(t, 2n)]
    const plain = testBlock(length, 1)
    const [own, other] = [inDomain(plain, mine), inDomain(plain, theirs)]
    const wrong = [errno.EIO, errno.EIO]
    t.deepEqual(await put(nodes, plain, mine), wrong, "not the cluster's block by its hash")
    t.deepEqual(await put(nodes, other, mine), wrong, "nor another export's")
    t.deepEqual(await put(nodes, own, new Uint8Array(0)), wrong)
    for (const node of nodes) t.is(node.store.totals.blocks, 0)
    t.deepEqual(await put(nodes, own, mine), [undefined, undefined])
    t.deepEqual(await put(nodes, plain, new Uint8Array(0)), [undefined, undefined])
    for (const node of nodes) t.is(node.store.totals.blocks, 2, 'equal content in two domains is two blocks')
    for (const block of [own, plain])
      t.deepEqual((await connect(nodes[1] as TestNode).get(block.id, 0, length)).data, block.data)
  })

test('a grant is good for the domain that the master made it for', async t => {
  const node = await startNode(t, 1n)
  const client = connect(node)
  const block = inDomain(testBlock(1000, 1), theirs)
  const grant = grantFor(1n, block, 5n, undefined, mine)
  const answers: (number | undefined)[] = []
  for (const dedupDomain of [theirs, new Uint8Array(0), new Uint8Array(15)]) {
    const put = { block: metaOf(block), grant: { ...grant, dedupDomain }, data: block.data }
    const [outcome] = await client.putRaw(put)
    answers.push(outcome?.error?.errno)
  }
  t.deepEqual(answers, [errno.EACCES, errno.EACCES, errno.EINVAL])
  t.is(node.store.totals.blocks, 0)
})

for (const length of [3 * KiB, 300 * KiB])
  test(`a copy of a block of ${length} bytes is proved by the domain of the order`, async t => {
    const [from, to] = [await startNode(t, 1n), await startNode(t, 2n)]
    const block = inDomain(testBlock(length, 1), mine)
    t.deepEqual(await put([from], block, mine), [undefined])
    const env = realEnv(quietLog)
    const peers = new Peers(env, to.network)
    t.teardown(() => peers.close())
    const users = new UserActivity(env.clock)
    const copier = new Copier({ ...to, env, peers, checksums, users, log: quietLog })
    const order = (domain: Uint8Array) =>
      copier.copy({
        order: 1n,
        ...{ id: blockIdToBytes(block.id), length, grant: grantFor(2n, block, 6n, undefined, domain) },
        sources: [{ node: 1n, address: from.address, zone: '', host: '' }],
      })
    const wrong = await order(new Uint8Array(0))
    t.is(wrong.error?.errno, errno.EIO)
    t.is(to.store.totals.blocks, 0)
    t.is((await order(mine)).error, undefined)
    t.deepEqual((await connect(to).get(block.id, 0, length)).data, block.data)
  })
