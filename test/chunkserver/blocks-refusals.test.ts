import { readdir } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { patienceFor } from '#src/chunkserver/rpc/incoming-put.ts'
import { errno } from '#src/core/errors.ts'
import { blockIdToBytes } from '#src/core/ids.ts'
import { KiB, MiB } from '#src/core/units.ts'
import type { BlocksUp } from '#src/wire/gen/cairn/v1/blocks.ts'
import { grantFor, metaOf, TestClient, testBlock, tokenFor } from './support/test-client.ts'
import { checksums, now, startNode, type TestNode } from './support/test-node.ts'

const connect = ({ network, address }: TestNode): TestClient => new TestClient(network, address).hello()

async function filesOf(node: TestNode): Promise<string[]> {
  const names = await readdir(node.folder, { recursive: true })
  return names.filter(name => /[0-9a-f]{64}$|^tmp\//.test(name))
}

for (const length of [3 * KiB, 300 * KiB])
  test(`a block of ${length} bytes that is not what it claims to be is refused by all of the chain and not kept`, async t => {
    const nodes = [await startNode(t, 1n), await startNode(t, 2n)]
    const [first] = nodes
    if (first === undefined) return t.fail()
    const client = connect(first)
    const block = testBlock(length, 1)
    const flipped = Buffer.from(block.data)
    flipped[length - 1] = (flipped[length - 1] ?? 0) ^ 1
    const wrongBytes = await client.put(block, nodes, 5n, { data: flipped })
    t.deepEqual(
      wrongBytes.map(({ error }) => error?.errno),
      [errno.EIO, errno.EIO],
    )
    // Consistent checksums of other bytes: only the SHA-256 tells, and only the first node computes it.
    const other = testBlock(length, 2)
    const forged = { ...other, id: block.id }
    const wrongId = await client.put({ ...forged, checksums: checksums.make(block.id, other.data) }, nodes)
    t.deepEqual(
      wrongId.map(({ error }) => error?.errno),
      [errno.EIO, errno.EIO],
    )
    t.regex(wrongId[0]?.error?.message ?? '', /the id of its bytes is/)
    const tooLong = await client.put(block, nodes, 5n, {
      data: Buffer.concat([block.data, Buffer.from('x')]),
    })
    t.deepEqual(
      tooLong.map(({ error }) => error?.errno),
      [errno.EINVAL, errno.EINVAL],
    )
    for (const node of nodes) {
      await t.throwsAsync(connect(node).get(block.id, 0, 1), { code: 'ENOENT' })
      t.is(node.store.totals.blocks, 0)
    }
    // Nothing is left once the refused files are unlinked, and the right block is taken.
    const outcomes = await client.put(block, nodes)
    t.deepEqual(
      outcomes.map(({ error }) => error),
      [undefined, undefined],
    )
    for (const node of nodes) t.is((await filesOf(node)).length, length > 64 * KiB ? 1 : 0)
  })

test('grants of others, altered, expired or for another node are refused', async t => {
  const node = await startNode(t, 1n)
  const client = connect(node)
  const block = testBlock(1000, 1)
  const good = grantFor(1n, block)
  const bad = [
    { ...good, generation: 6n },
    { ...good, mac: Buffer.alloc(32) },
    { ...good, mac: Buffer.alloc(3) },
    grantFor(1n, block, 5n, now - 1n),
    grantFor(2n, block),
    grantFor(1n, testBlock(1000, 2)),
  ]
  const codes: (number | undefined)[] = []
  for (const grant of bad) {
    const [outcome] = await client.putRaw({ block: metaOf(block), grant, data: block.data })
    codes.push(outcome?.error?.errno)
  }
  const { EACCES, ESTALE } = errno
  t.deepEqual(codes, [EACCES, EACCES, EACCES, ESTALE, ESTALE, EACCES])
  t.is(node.store.totals.blocks, 0)
})

test('grants of a session that has ended are refused, whether the node was there or hears of it later', async t => {
  const node = await startNode(t, 1n)
  const client = connect(node)
  const put = async (seed: number): Promise<number | undefined> => {
    const block = testBlock(1000, seed)
    const [outcome] = await client.putRaw({
      block: metaOf(block),
      grant: grantFor(1n, block),
      data: block.data,
    })
    return outcome?.error?.errno
  }
  const { session } = grantFor(1n, testBlock(1000, 1))
  node.authority.noteSessions(session + 1n, [session])
  t.is(await put(1), undefined)
  node.authority.sessionsEnded([session])
  t.is(await put(2), errno.ESTALE)
  // Attached anew: the master lists those that go on.
  node.authority.noteSessions(session + 1n, [session])
  t.is(await put(3), undefined)
  node.authority.noteSessions(session + 1n, [])
  t.is(await put(4), errno.ESTALE)
  // One that began since.
  node.authority.noteSessions(session, [])
  t.is(await put(5), undefined)
  t.is(node.store.totals.blocks, 3)
})

test('a node behind in the chain that fails costs only the copies from it on', async t => {
  const first = await startNode(t, 1n)
  const gone = { node: 2n, address: '127.0.0.1:1' }
  const third = await startNode(t, 3n)
  const block = testBlock(300 * KiB, 1)
  const outcomes = await connect(first).put(block, [first, gone, third])
  t.deepEqual(
    outcomes.map(({ node, error, receipt }) => [node, error === undefined, receipt !== undefined]),
    [
      [1n, true, true],
      [2n, false, false],
      [3n, false, false],
    ],
  )
  t.not(outcomes[1]?.error?.errno, errno.ECANCELED)
  t.is(outcomes[2]?.error?.errno, errno.ECANCELED, 'it is not to blame')
})

test('a node in the chain whose disk does not answer is named before the client gives up', async t => {
  const nodes = [await startNode(t, 1n), await startNode(t, 2n), await startNode(t, 3n)] as const
  nodes[1].store.putFile = () => new Promise(() => undefined)
  const waitMs = 4000
  const timedOut = sleep(waitMs).then(() => undefined)
  const putting = connect(nodes[0]).put(testBlock(300 * KiB, 1), nodes, undefined, { patienceMs: waitMs })
  const outcomes = await Promise.race([putting, timedOut])
  t.deepEqual(
    outcomes?.map(({ node, error }) => [node, error?.errno]),
    [
      [1n, undefined],
      [2n, errno.ETIMEDOUT],
      [3n, errno.ECANCELED],
    ],
  )
})

test('nodes of a chain that have passed on all they were given are not blamed for a slow sender', async t => {
  const nodes = [await startNode(t, 1n), await startNode(t, 2n), await startNode(t, 3n)]
  const slowly = { patienceMs: 3000, messageBytes: 200 * KiB, pauseMs: 4000 }
  const outcomes = await connect(nodes[0] as TestNode).put(testBlock(300 * KiB, 1), nodes, undefined, slowly)
  t.deepEqual(
    outcomes.map(({ error }) => error),
    [undefined, undefined, undefined],
  )
})

test('each node of a chain gives up before who waits for it', t => {
  for (const copies of [2, 3, 5, 16])
    for (const senderMs of [0, 3000, 15_000, 4_000_000_000]) {
      let waits = patienceFor(copies - 1, senderMs, 15_000)
      t.true(senderMs === 0 || waits < senderMs)
      for (let behind = copies - 2; behind > 0; behind--) {
        const next = patienceFor(behind, waits, 15_000)
        t.true(next > 0 && next < waits && waits <= 15_000 * (behind + 1))
        waits = next
      }
    }
})

test('a full node refuses puts, still passes them on, still deletes, and takes puts again', async t => {
  const full = await startNode(t, 1n, { capacityBytes: 500 * KiB })
  const other = await startNode(t, 2n)
  const client = connect(full)
  const first = testBlock(300 * KiB, 1)
  const second = testBlock(300 * KiB, 2)
  t.is((await client.put(first, [full]))[0]?.error, undefined)
  const outcomes = await client.put(second, [full, other])
  t.deepEqual(
    outcomes.map(({ error }) => error?.errno),
    [errno.ENOSPC, undefined],
  )
  const small = await client.putSmall(1n, [
    testBlock(60 * KiB, 3),
    testBlock(60 * KiB, 4),
    testBlock(60 * KiB, 5),
    testBlock(60 * KiB, 6),
  ])
  t.is(small.filter(({ error }) => error?.errno === errno.ENOSPC).length, 1)
  t.not(full.store.space.status().refusing, undefined)
  await full.store.remove(first.id, 5n)
  t.is(full.store.space.status().refusing, undefined)
  t.is((await client.put(second, [full]))[0]?.error, undefined)
})

test('nothing is passed on for somebody without a grant', async t => {
  const [first, second] = [await startNode(t, 1n), await startNode(t, 2n)]
  // The grant names node 7, which this is not; the one for node 2 is good.
  const outcomes = await connect(first).put(block, [{ ...first, node: 7n }, second])
  t.is(outcomes[0]?.error?.errno, errno.ESTALE)
  t.not(outcomes[1]?.error, undefined)
  t.is(second.store.totals.blocks, 0)
})

test('puts wait until the master has accepted the node', async t => {
  const node = await startNode(t, 1n, { accepted: false })
  const [outcome] = await connect(node).put(testBlock(1000, 1), [node])
  t.is(outcome?.error?.errno, errno.EAGAIN)
})

const hello: BlocksUp['item'] = {
  $case: 'hello',
  value: { versionMin: 1, versionMax: 1, cluster: Buffer.alloc(16, 7), session: 3n, epoch: 1n, host: '' },
}
const block = testBlock(1000, 1)
const begin = {
  call: 1n,
  block: metaOf(block),
  grant: grantFor(1n, block),
  chain: [],
  verifyId: true,
  patienceMs: 0,
}
const hostile: Record<string, BlocksUp['item'][]> = {
  'no hello': [
    {
      $case: 'get',
      value: {
        call: 1n,
        id: blockIdToBytes(block.id),
        offset: 0,
        length: 1,
        local: false,
        token: tokenFor(block.id),
      },
    },
  ],
  'two hellos': [hello, hello],
  'nothing known': [undefined],
  'a put without a block': [hello, { $case: 'put', value: { ...begin, block: undefined } }],
  'a short id': [
    hello,
    { $case: 'put', value: { ...begin, block: { ...metaOf(block), id: Buffer.alloc(31) } } },
  ],
  'too few checksums': [
    hello,
    { $case: 'put', value: { ...begin, block: { ...metaOf(block), length: 100_000 } } },
  ],
  'a call twice': [hello, { $case: 'put', value: begin }, { $case: 'put', value: begin }],
}

for (const [what, frames] of Object.entries(hostile))
  test(`${what} ends the stream that sent it and nothing else`, async t => {
    const node = await startNode(t, 1n)
    const bystander = connect(node)
    await bystander.put(block, [node])
    const client = new TestClient(node.network, node.address)
    for (const item of frames) client.link.send({ item })
    await client.closed
    t.true((await bystander.get(block.id, 0, 1000)).data.equals(block.data))
  })

test('values out of bounds fail their call alone', async t => {
  const node = await startNode(t, 1n)
  const client = connect(node)
  await client.put(block, [node])
  await t.throwsAsync(client.get(block.id, 1000, 1), { code: 'EINVAL' })
  await t.throwsAsync(client.get(block.id, 0, 0), { code: 'EINVAL' })
  const huge = { ...testBlock(1000, 2), length: 0xffff_ffff }
  await t.throwsAsync(client.put(huge, [node]), { code: 'EINVAL' })
  const tooLarge = await client.putSmall(1n, [testBlock(65 * KiB, 1), block])
  t.deepEqual(
    tooLarge.map(({ error }) => error?.errno),
    [errno.EINVAL, undefined],
  )
  t.true((await client.get(block.id, 0, 1000)).data.equals(block.data))
})

test('a client that goes in the middle of a put leaves nothing', async t => {
  const node = await startNode(t, 1n)
  const client = connect(node)
  const large = testBlock(MiB, 1)
  const put = { ...begin, call: 99n, block: metaOf(large), grant: grantFor(1n, large) }
  client.link.send({ item: { $case: 'put', value: put } })
  client.link.send({ item: { $case: 'data', value: { call: 99n, data: large.data.subarray(0, 100_000) } } })
  await t.throwsAsync(client.get(block.id, 0, 1), { code: 'ENOENT' })
  client.close()
  await client.closed
  for (let tries = 0; (await filesOf(node)).length > 0; tries++) {
    if (tries > 200) return t.fail('the temporary file is still there')
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  t.pass()
})

test('the same block put many times at once is stored once', async t => {
  const node = await startNode(t, 1n)
  const clients = [connect(node), connect(node), connect(node)]
  const large = testBlock(300 * KiB, 1)
  const outcomes = await Promise.all(
    clients.flatMap(client => [5n, 7n, 6n].map(g => client.put(large, [node], g))),
  )
  t.true(outcomes.every(([outcome]) => outcome?.receipt !== undefined))
  t.is(node.store.totals.blocks, 1)
  const { blocks } = await node.store.index.ask('bucket', { prefixBits: 0, bucket: 0 })
  t.is(blocks[0]?.generation, 7n)
  t.is((await filesOf(node)).length, 1)
})

test('a put that was begun and gets no more data is given up, and the room that it had is free', async t => {
  const [node, next] = [await startNode(t, 1n, { putSilentMs: 200 }), await startNode(t, 2n)]
  const client = connect(node)
  for (const length of [3 * KiB, 300 * KiB]) {
    const block = testBlock(length, 1)
    const free = node.store.space.status().totalBytes - node.store.space.status().usedBytes
    const outcomes = await client.put(block, [node, next], 5n, { data: block.data.subarray(0, length / 2) })
    t.deepEqual(
      outcomes.map(({ error }) => error?.errno),
      [errno.ETIMEDOUT, errno.ETIMEDOUT],
    )
    t.is(node.store.space.status().totalBytes - node.store.space.status().usedBytes, free)
    t.is(node.store.totals.blocks, 0)
    const whole = await client.put(block, [node], 5n)
    t.is(whole[0]?.error, undefined, 'the stream goes on')
    await node.store.remove(block.id, 5n)
  }
})
