import test from 'ava'
import { RealDisk } from '#src/chunkserver/disk/real-disk.ts'
import type { Log } from '#src/core/env.ts'
import { FsError } from '#src/core/errors.ts'
import { KiB, MiB } from '#src/core/units.ts'
import { grantFor, TestClient, testBlock } from './support/test-client.ts'
import { quietLog, startNode } from './support/test-node.ts'

test('a large block goes along a chain of three and comes back from each', async t => {
  const nodes = [await startNode(t, 1n), await startNode(t, 2n), await startNode(t, 3n)]
  const [first] = nodes
  if (first === undefined) return t.fail()
  const block = testBlock(4 * MiB, 1)
  const client = new TestClient(first.network, first.address).hello()
  const outcomes = await client.put(block, nodes)
  t.deepEqual(
    outcomes.map(({ node, error }) => ({ node, error })),
    nodes.map(({ node }) => ({ node, error: undefined })),
  )
  for (const node of nodes) {
    const reader = new TestClient(node.network, node.address).hello()
    const { data } = await reader.get(block.id, 0, block.length)
    t.true(data.equals(block.data))
  }
  const range = await client.get(block.id, 100 * KiB, 10)
  t.is(range.offset, 64 * KiB)
  t.true(range.data.equals(block.data.subarray(64 * KiB, 128 * KiB)))
})

test('a receipt ends with its grant: what is not committed by then may be deleted', async t => {
  const node = await startNode(t, 1n)
  const [small, large] = [testBlock(1000, 1), testBlock(200_000, 2)]
  const client = new TestClient(node.network, node.address).hello()
  const outcomes = [...(await client.putSmall(1n, [small])), ...(await client.put(large, [node]))]
  for (const [index, block] of [small, large].entries())
    t.is(outcomes[index]?.receipt?.expiry, grantFor(1n, block).expiry)
})

test('a client that takes nothing keeps nobody else from reading', async t => {
  const node = await startNode(t, 1n)
  const block = testBlock(4 * MiB, 1)
  const client = new TestClient(node.network, node.address).hello()
  await client.put(block, [node])
  for (let each = 0; each < 6; each++) {
    const deaf = new TestClient(node.network, node.address).hello()
    deaf.link.pause()
    for (let get = 0; get < 6; get++) deaf.get(block.id, 0, block.length).catch(() => undefined)
  }
  await new Promise(resolve => setTimeout(resolve, 1000))
  t.true((await client.get(block.id, 0, 10)).data.equals(block.data.subarray(0, 64 * KiB)))
})

test('small blocks are stored with one message', async t => {
  const node = await startNode(t, 1n)
  const blocks = Array.from({ length: 50 }, (_, index) => testBlock(1 + index * 1000, index))
  const client = new TestClient(node.network, node.address).hello()
  const outcomes = await client.putSmall(node.node, blocks)
  t.deepEqual(
    outcomes.map(({ index, receipt }) => [index, receipt?.generation]),
    blocks.map((_, index) => [index, 5n]),
  )
  for (const block of blocks) t.true((await client.get(block.id, 0, block.length)).data.equals(block.data))
})

test('many small blocks come with one question; what is not here, or no small one, is left out', async t => {
  const node = await startNode(t, 1n)
  const client = new TestClient(node.network, node.address).hello()
  const blocks = Array.from({ length: 40 }, (_, index) => testBlock(1 + index * 1600, index))
  await client.putSmall(node.node, blocks)
  const large = testBlock(100 * KiB, 99)
  await client.put(large, [node])
  const asked = [large, ...blocks, testBlock(10, 1000)]
  const { got, messages } = await client.getSmall(asked.map(({ id }) => id))
  t.true(messages > 1, 'a message is bounded')
  t.deepEqual(
    [...got.keys()].sort((a, b) => a - b),
    blocks.map((_, index) => index + 1),
  )
  for (const [index, { data, checksums }] of got) {
    t.true(data.equals(asked[index]?.data ?? Buffer.alloc(0)))
    t.deepEqual(Buffer.from(checksums), Buffer.from(asked[index]?.checksums ?? []))
  }
  t.deepEqual([...(await client.getSmall([testBlock(10, 1000).id])).got], [])
  await t.throwsAsync(client.getSmall(Array.from({ length: 65 }, () => large.id)), { code: 'EINVAL' })
})

/** A disk on which files can be made, and no longer written. */
class UnwritableDisk extends RealDisk {
  refuses = false

  override async create(path: string): ReturnType<RealDisk['create']> {
    const file = await super.create(path)
    const refused = async (): Promise<never> => Promise.reject(new FsError('EROFS', 'the disk is read-only'))
    return this.refuses ? { append: refused, datasync: refused, close: async () => file.close() } : file
  }
}

test('a disk that refuses the bytes of a put is out of service, and the log says so', async t => {
  const errors: string[] = []
  const log: Log = { ...quietLog, error: message => errors.push(message), child: () => log }
  const disks: UnwritableDisk[] = []
  const diskOf = (folder: string): UnwritableDisk => {
    const disk = new UnwritableDisk(folder)
    disks.push(disk)
    return disk
  }
  const node = await startNode(t, 1n, { log, diskOf })
  const client = new TestClient(node.network, node.address).hello()
  for (const disk of disks) disk.refuses = true
  for (const seed of [1, 2]) await client.put(testBlock(1 * MiB, seed), [node]).catch(() => undefined)
  t.true(node.store.space.status().failing)
  t.is(errors.filter(message => message.startsWith('the disk takes no writes')).length, 1)
})
