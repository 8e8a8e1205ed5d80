import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import Database from 'better-sqlite3'
import type { BlockStore } from '#src/chunkserver/blocks/block-store.ts'
import { ChunkserverNode } from '#src/chunkserver/chunkserver-node.ts'
import { must } from '#src/core/assert.ts'
import { blockIdOf } from '#src/core/checksum.ts'
import { errno, UsageError } from '#src/core/errors.ts'
import { blockIdToBytes } from '#src/core/ids.ts'
import { KiB } from '#src/core/units.ts'
import { realEnv } from '#src/env/real-env.ts'
import { instanceBytes } from '#src/master/nodes/inventory-digest.ts'
import type { CopyOrder } from '#src/wire/gen/cairn/v1/nodes.ts'
import { GrpcNetwork } from '#src/wire/grpc/grpc-network.ts'
import { grantFor, TestClient, type TestBlock, testBlock } from './support/test-client.ts'
import { TestMaster } from './support/test-master.ts'
import { checksums, cluster, openStore, quietLog, startNode, temporaryFolder } from './support/test-node.ts'

interface Attached {
  readonly master: TestMaster
  readonly store: BlockStore
  readonly network: GrpcNetwork
  readonly address: string
  readonly folder: string
  readonly ended: Promise<void>
  stop(): Promise<void>
}

/** A node with everything, attached to a master that the test plays. */
async function attach(
  t: ExecutionContext,
  master = new TestMaster(1n),
  folder?: string,
  env = realEnv(quietLog),
): Promise<Attached> {
  const network = new GrpcNetwork({ log: quietLog })
  const path = folder ?? (await temporaryFolder(t))
  const store = await openStore(path, { env })
  const masterNetwork = new GrpcNetwork({ log: quietLog })
  t.teardown(() => masterNetwork.close())
  const config = { masterAddress: await master.listen(masterNetwork), zone: 'z', host: 'h', program: 'test' }
  const node = new ChunkserverNode(env, network, store, checksums, {
    ...config,
    scrubBytesPerSecond: 2 ** 30,
  })
  const listener = await network.listen('127.0.0.1:0', serving => node.register(serving))
  const abort = new AbortController()
  const ended = node.run(listener.address, abort.signal)
  ended.catch(() => undefined)
  let stopping: Promise<void> | undefined
  const stop = (): Promise<void> =>
    (stopping ??= (async () => {
      abort.abort()
      await ended.catch(() => undefined)
      await network.close()
      await store.close()
    })())
  t.teardown(stop)
  return { master, store, network, address: listener.address, folder: path, ended, stop }
}

async function put(
  { network, address, store }: Attached,
  blocks: readonly TestBlock[],
  generation = 5n,
): Promise<void> {
  // It has taken the master's word when its folder says whose it is.
  while (store.identity.node === 0n) await sleep(5)
  const client = new TestClient(network, address).hello()
  for (const block of blocks) {
    const [outcome] = await client.put(block, [{ node: 1n, address }], generation)
    if (outcome?.receipt === undefined) throw new Error(outcome?.error?.message ?? 'no outcome')
  }
  client.close()
}

test('a node registers, joins the cluster for good, reports changes in order and its heartbeats', async t => {
  const node = await attach(t)
  const register = await node.master.hears('register')
  t.is(register.node, 0n)
  t.is(register.cluster.length, 0)
  await node.master.hears('heartbeat')
  const blocks = [testBlock(1000, 1), testBlock(100 * KiB, 2)]
  await put(node, blocks)
  await node.master.hears('changes', 0, ({ first, changes }) => first + BigInt(changes.length) === 3n)
  const changes = node.master.heard.flatMap(item => (item.$case === 'changes' ? item.value.changes : []))
  t.deepEqual(
    changes.map(({ id, generation, length, removed }) => [
      Buffer.from(id).toString('hex'),
      generation,
      length,
      removed,
    ]),
    blocks.map(({ id, length }) => [id, 5n, length, false]),
  )
  await node.stop()
  await node.master.hears('goodbye')
  const again = await attach(t, undefined, node.folder)
  const second = await again.master.hears('register')
  t.is(second.node, 1n)
  t.deepEqual(Buffer.from(second.cluster), cluster)
  t.is(second.incarnation, register.incarnation + 1n)
  t.deepEqual(second.store, register.store)
  t.is(second.sequence, 2n)
  t.is(second.blocks, 2n)
})

test('changes that the master does not know are sent again after a broken connection', async t => {
  const node = await attach(t)
  await node.master.hears('heartbeat')
  node.master.forgetful = true
  await put(node, [testBlock(1000, 1)])
  await node.master.hears('changes')
  const from = node.master.heard.length
  node.master.forgetful = false
  node.master.drop()
  const again = await node.master.hears('changes', from)
  t.is(again.first, 1n)
  t.is(again.changes.length, 1)
})

test('changes that were acknowledged and then forgotten by the master are skipped in one step', async t => {
  const node = await attach(t)
  await node.master.hears('heartbeat')
  await put(node, [testBlock(1000, 1), testBlock(1000, 2)])
  await node.master.hears('changes', 0, ({ first, changes }) => first + BigInt(changes.length) === 3n)
  for (;;) {
    const { changes } = await node.store.index.ask('changes', { after: 0n, limit: 9 })
    if (changes.length === 0) break
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  const from = node.master.heard.length
  node.master.knownSequence = 0n
  node.master.drop()
  t.deepEqual(await node.master.hears('changes', from), { first: 3n, changes: [] })
})

test('a master that says nothing is dialled again', async t => {
  const node = await attach(t)
  await node.master.hears('heartbeat')
  const from = node.master.heard.length
  node.master.silent = true
  await node.master.hears('register', from)
  t.pass()
})

test('digests and listings tell what is there', async t => {
  const node = await attach(t)
  await node.master.hears('heartbeat')
  const blocks = Array.from({ length: 20 }, (_, index) => testBlock(100 + index, index))
  await put(node, blocks)
  node.master.send({ $case: 'askDigest', value: { prefixBits: 2 } })
  const { sequence, digests } = await node.master.hears('digest')
  t.is(sequence, 20n)
  const expected = [0n, 0n, 0n, 0n]
  for (const { id, length } of blocks) {
    const bucket = Number.parseInt(id.slice(0, 2), 16) >> 6
    expected[bucket] =
      (expected[bucket] ?? 0n) ^ checksums.xxh64(instanceBytes(blockIdToBytes(id), 5n, length))
  }
  t.deepEqual(digests, expected)
  node.master.send({ $case: 'askBuckets', value: { prefixBits: 2, buckets: [0, 1, 2, 3] } })
  await node.master.hears('listing', 0, ({ bucket, last }) => bucket === 3 && last)
  const listed = node.master.heard.flatMap(item => (item.$case === 'listing' ? item.value.blocks : []))
  t.deepEqual(
    listed.map(({ id }) => Buffer.from(id).toString('hex')),
    blocks.map(({ id }) => id).sort(),
  )
})

test('an order to delete removes exactly the instances it names', async t => {
  const node = await attach(t)
  await node.master.hears('heartbeat')
  const [kept, gone] = [testBlock(1000, 1), testBlock(100 * KiB, 2)]
  await put(node, [kept, gone], 9n)
  const instances = [
    { id: blockIdToBytes(kept.id), generation: 8n },
    { id: blockIdToBytes(gone.id), generation: 9n },
    { id: Buffer.alloc(32, 1), generation: 9n },
  ]
  node.master.send({ $case: 'delete', value: { order: 77n, blocks: instances } })
  t.deepEqual(await node.master.hears('deleted'), { order: 77n, errors: [], sequence: 3n })
  t.is(node.store.totals.blocks, 1)
  const removed = await node.master.hears('changes', 0, ({ changes }) =>
    changes.some(change => change.removed),
  )
  t.is(Buffer.from(removed.changes.at(-1)?.id ?? []).toString('hex'), gone.id)
})

for (const length of [1000, 300 * KiB])
  test(`a copy of ${length} bytes is pulled from the first source that has the right bytes`, async t => {
    const node = await attach(t)
    await node.master.hears('heartbeat')
    const block = testBlock(length, 1)
    const [empty, good] = [await startNode(t, 2n), await startNode(t, 3n)]
    await new TestClient(good.network, good.address).hello().put(block, [good])
    const at = (of: { node: bigint; address: string }) => ({
      node: of.node,
      address: of.address,
      zone: '',
      host: '',
    })
    const order: CopyOrder = {
      order: 5n,
      id: blockIdToBytes(block.id),
      length,
      grant: grantFor(1n, block, 30n),
      sources: [at({ node: 9n, address: '127.0.0.1:1' }), at(empty), at(good)],
    }
    node.master.send({ $case: 'copy', value: { orders: [order] } })
    const [result] = (await node.master.hears('copied')).results
    t.is(result?.error, undefined)
    t.is(result?.receipt?.generation, 30n)
    t.deepEqual(result?.badSources, [2n])
    const { data } = await new TestClient(node.network, node.address).hello().get(block.id, 0, length)
    t.true(data.equals(block.data))
  })

test('many small copies are asked for together; what the source has not is reported alone', async t => {
  const node = await attach(t)
  await node.master.hears('heartbeat')
  const source = await startNode(t, 2n)
  const blocks = Array.from({ length: 150 }, (_, index) => testBlock(4 * KiB, index + 1))
  const client = new TestClient(source.network, source.address).hello()
  const [missing, first, ...rest] = blocks
  if (missing === undefined || first === undefined) throw new Error('no blocks')
  for (const block of [first, ...rest]) await client.put(block, [source])
  const sources = [{ node: 2n, address: source.address, zone: '', host: '' }]
  const orderOf = (block: TestBlock, order: bigint): CopyOrder => ({
    order,
    id: blockIdToBytes(block.id),
    length: block.length,
    grant: grantFor(1n, block, 30n),
    sources,
  })
  // With the first one the two nodes tell each other what they speak.
  node.master.send({ $case: 'copy', value: { orders: [orderOf(first, 1n)] } })
  await node.master.hears('copied')
  node.master.send({
    $case: 'copy',
    value: { orders: [...rest, missing].map((block, at) => orderOf(block, BigInt(2 + at))) },
  })
  const results = () =>
    node.master.heard.flatMap(item => (item.$case === 'copied' ? [...item.value.results] : []))
  while (results().length < blocks.length) await node.master.hears('copied', node.master.heard.length)
  const bad = results().filter(({ receipt }) => receipt === undefined)
  t.deepEqual(
    bad.map(({ order, badSources }) => [order, badSources]),
    [[BigInt(blocks.length), [2n]]],
  )
  t.is(node.store.totals.blocks, blocks.length - 1)
  const asked = source.traffic.times.rows().find(({ operation }) => operation === 'get_small')
  const questions = asked?.counts.reduce((sum, count) => sum + count, 0) ?? 0
  t.true(questions > 0 && questions < 10, `${questions} questions`)
})

test('a source with a wrong block is reported, and the block is not stored', async t => {
  const node = await attach(t)
  await node.master.hears('heartbeat')
  const source = await startNode(t, 2n)
  const block = testBlock(300 * KiB, 1)
  await new TestClient(source.network, source.address).hello().put(block, [source])
  await writeFile(join(source.folder, 'blocks', block.id.slice(0, 2), block.id), testBlock(300 * KiB, 2).data)
  const sources = [{ node: 2n, address: source.address, zone: '', host: '' }]
  const grant = grantFor(1n, block)
  const id = blockIdToBytes(block.id)
  node.master.send({
    $case: 'copy',
    value: { orders: [{ order: 5n, id, length: block.length, grant, sources }] },
  })
  const [result] = (await node.master.hears('copied')).results
  t.is(result?.error?.errno, errno.EIO)
  t.deepEqual(result?.badSources, [2n])
  t.is(node.store.totals.blocks, 0)
})

test('damage that a read or the scrubber finds is reported, also after a restart', async t => {
  const node = await attach(t)
  await node.master.hears('heartbeat')
  const [lost, rotten] = [testBlock(100 * KiB, 1), testBlock(100 * KiB, 2)]
  await put(node, [lost, rotten])
  const pathOf = ({ id }: TestBlock): string => join(node.folder, 'blocks', id.slice(0, 2), id)
  await rm(pathOf(lost))
  const client = new TestClient(node.network, node.address).hello()
  await t.throwsAsync(client.get(lost.id, 0, 1), { code: 'EIO' })
  const { id, generation } = await node.master.hears('damaged')
  t.is(Buffer.from(id).toString('hex'), lost.id)
  t.is(generation, 5n)
  await node.stop()
  await writeFile(pathOf(rotten), Buffer.alloc(100 * KiB))
  const again = await attach(t, undefined, node.folder)
  const isOf = (block: TestBlock) => (damaged: { id: Uint8Array }) =>
    Buffer.from(damaged.id).toString('hex') === block.id
  await again.master.hears('damaged', 0, isOf(rotten))
  await again.master.hears('damaged', 0, isOf(lost))
  // Who did not know the block then hears of it with the block.
  again.master.send({ $case: 'askBuckets', value: { prefixBits: 0, buckets: [0] } })
  await again.master.hears('listing')
  const listedAt = again.master.heard.findIndex(({ $case }) => $case === 'listing')
  for (const block of [rotten, lost]) await again.master.hears('damaged', listedAt, isOf(block))
})

test('a node that is stopped says goodbye, but not one whose folder was emptied', async t => {
  const stopped = await attach(t)
  await stopped.master.hears('heartbeat')
  await stopped.stop()
  await stopped.master.hears('goodbye')
  const emptied = await attach(t)
  await emptied.master.hears('heartbeat')
  await rm(join(emptied.folder, 'store-id'))
  await emptied.store.maintain()
  t.true(emptied.store.isGone)
  await emptied.stop()
  t.false(emptied.master.heard.some(({ $case }) => $case === 'goodbye'))
})

test('a master that refuses for good ends the node with one line', async t => {
  const master = new TestMaster(1n)
  master.refusal = { errno: errno.EINVAL, message: 'Node 4 has another store' }
  const node = await attach(t, master)
  await t.throwsAsync(node.ended, {
    instanceOf: UsageError,
    message: /refuses this node: Node 4 has another store/,
  })
})

for (const [what, number] of [
  ['a folder of another cluster', 1n],
  ['one whose index was made anew, so that it is no node yet,', 0n],
] as const)
  test(`${what} is not used`, async t => {
    const folder = await temporaryFolder(t)
    const store = await openStore(folder)
    await store.join(Buffer.alloc(16, 8), number)
    await store.close()
    const node = await attach(t, undefined, folder)
    await t.throwsAsync(node.ended, { instanceOf: UsageError, message: /another cluster/ })
  })

test('a node asks once about files without a row, and takes as blocks those of them that the master proves', async t => {
  const folder = await temporaryFolder(t)
  const before = await openStore(folder)
  const blocks = [1, 2].map(seed => {
    const plain = testBlock(200 * KiB, seed)
    const id = blockIdOf(plain.data, Buffer.alloc(16, 7))
    return { ...plain, id, checksums: checksums.make(id, plain.data), plain: plain.id }
  })
  for (const block of blocks) {
    const file = before.receive()
    await file.append(block.data)
    await before.putFile(block, 5n, file)
  }
  await before.close()
  const db = new Database(join(folder, 'index.sqlite'))
  db.exec('DELETE FROM block; DELETE FROM change; DELETE FROM bucket; UPDATE store SET files = 0, clean = 0')
  db.close()

  const master = new TestMaster(1n)
  const node = await attach(t, master, folder)
  const { unproven } = await master.hears('heartbeat', 0, ({ unproven }) => unproven.length > 0)
  const asked = (id: Uint8Array) => unproven.find(one => Buffer.compare(one.id, id) === 0)
  t.is(unproven.length, 2)
  for (const { id, plain, length } of blocks) {
    const found = must(asked(blockIdToBytes(id)), 'what was asked')
    t.is(found.length, length)
    t.is(Buffer.from(found.sha256).toString('hex'), plain)
  }
  const [own, other] = blocks.map(({ id }) => blockIdToBytes(id))
  const answer = { sentMs: 0n, time: 0n, endedSessions: [], readKeys: [], readShares: [] }
  const heard = master.heard.length
  // Of what was never asked about the master's word is worth nothing.
  const stranger = blockIdToBytes(testBlock(1000, 9).id)
  master.send({ $case: 'heartbeat', value: { ...answer, proven: [stranger, own ?? stranger] } })
  const { changes } = await master.hears('changes', heard, ({ changes }) => changes.length > 0)
  t.deepEqual(
    changes.map(({ id, generation, removed }) => [Buffer.from(id), generation, removed]),
    [[own, 1n, false]],
  )
  await t.throwsAsync(node.store.read(must(blocks[1], 'block').id), { code: 'ENOENT' })
  t.deepEqual([...node.store.unproven.keys()], [blocks[1]?.id])
  const since = master.heard.length
  await master.hears('heartbeat', since)
  t.true(
    master.heard.slice(since).every(item => item.$case !== 'heartbeat' || item.value.unproven.length === 0),
    'it asks once',
  )
  // A later connection asks again.
  master.drop()
  const again = await master.hears('heartbeat', since, ({ unproven }) => unproven.length > 0)
  t.deepEqual(
    again.unproven.map(({ id }) => Buffer.from(id)),
    [other],
  )
})

test('a disk that does not answer at all is out of service until it does', async t => {
  const real = realEnv(quietLog)
  const faster = 100
  const timers = {
    after: (ms: number, callback: () => void) => real.timers.after(ms / faster, callback),
    soon: (callback: () => void) => real.timers.soon(callback),
    sleep: (ms: number, signal?: AbortSignal) => real.timers.sleep(ms / faster, signal),
  }
  const { master, store } = await attach(t, undefined, undefined, { ...real, timers })
  const maintain = store.maintain.bind(store)
  let answer = (): void => undefined
  store.maintain = () => new Promise(resolve => (answer = resolve))
  const heard = async (failing: boolean): Promise<string> => {
    const from = master.heard.length
    const { reason } = await master.hears('heartbeat', from, heartbeat => heartbeat.failing === failing)
    return reason
  }
  t.is(await heard(false), '')
  t.is(await heard(true), 'the disk has not answered for 30 s')
  store.maintain = maintain
  answer()
  t.is(await heard(false), '')
})
