import test from 'ava'
import { blockIdToBytes } from '#src/core/ids.ts'
import { BlockIndex } from '#src/chunkserver/blocks/block-index.ts'
import { BlockStore } from '#src/chunkserver/blocks/block-store.ts'
import { openIndexWriter } from '#src/chunkserver/blocks/open-index.ts'
import { RealDisk } from '#src/chunkserver/disk/real-disk.ts'
import { realEnv } from '#src/env/real-env.ts'
import { testBlock } from './support/test-client.ts'
import { checksums, directLane, quietLog, temporaryFolder } from './support/test-node.ts'

/** A store whose index can be changed as a rotting disk does. */
async function storeOf(t: { teardown(fn: () => Promise<void>): void }) {
  const folder = await temporaryFolder(t)
  const index = openIndexWriter(folder)
  const store = await BlockStore.open({
    ...{ env: realEnv(quietLog), disk: new RealDisk(folder), checksums },
    index: new BlockIndex(directLane(() => index)),
  })
  t.teardown(() => store.close())
  return { store, index }
}

test('a small block whose checksums have rotted is right again when it is put again', async t => {
  const { store, index } = await storeOf(t)
  const block = testBlock(1000, 1)
  await store.putRow(block, 5n, block.data)
  const isRight = async (): Promise<boolean> => {
    const reader = await store.read(block.id)
    try {
      return await store.verify(reader)
    } finally {
      await reader.close()
    }
  }
  t.true(await isRight())
  index
    .prepare('UPDATE block SET checksums = zeroblob(length(checksums)) WHERE id = ?')
    .run(blockIdToBytes(block.id))
  t.false(await isRight())
  t.is(await store.putRow(block, 9n, block.data), 9n)
  t.true(await isRight())
})

test('a block whose length has rotted fails its own put, and neither others nor the disk', async t => {
  const { store, index } = await storeOf(t)
  const [rotten, other] = [testBlock(1000, 1), testBlock(1000, 2)]
  await store.putRow(rotten, 5n, rotten.data)
  index.prepare('UPDATE block SET length = length + 1 WHERE id = ?').run(blockIdToBytes(rotten.id))
  const [failed, stored] = await Promise.allSettled([
    store.putRow(rotten, 9n, rotten.data),
    store.putRow(other, 7n, other.data),
  ])
  t.is(failed.status, 'rejected')
  t.deepEqual(stored, { status: 'fulfilled', value: 7n })
  t.is(store.space.failure, undefined)
})
