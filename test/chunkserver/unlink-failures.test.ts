import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { pathOf } from '#src/chunkserver/blocks/layout.ts'
import { RealDisk } from '#src/chunkserver/disk/real-disk.ts'
import { FsError } from '#src/core/errors.ts'
import { Scrubber } from '#src/chunkserver/scrub/scrubber.ts'
import { realEnv } from '#src/env/real-env.ts'
import { type TestBlock, testBlock } from './support/test-client.ts'
import { openStore, quietLog, temporaryFolder } from './support/test-node.ts'

/** A disk that for a while removes nothing. */
class StubbornDisk extends RealDisk {
  stubborn = true

  override async unlink(path: string): Promise<void> {
    if (this.stubborn) throw new FsError('EIO', 'the disk failed')
    await super.unlink(path)
  }
}

test('what a failing disk would not unlink goes when it works again', async t => {
  const folder = await temporaryFolder(t)
  const disk = new StubbornDisk(folder)
  const store = await openStore(folder, { disk })
  t.teardown(() => store.close())
  const block = testBlock(200_000, 1)
  const file = store.receive()
  await file.append(block.data)
  await store.putFile(block, 5n, file)
  const givenUp = store.receive()
  await givenUp.append(block.data)
  await givenUp.discard()
  await store.remove(block.id, 5n)
  const files = async () => [
    ...(await readdir(join(folder, 'tmp'))),
    ...(await readdir(join(folder, pathOf(block.id), '..'))),
  ]
  t.is((await files()).length, 2)
  await t.throwsAsync(store.maintain(), { message: /the disk failed/ })
  t.is((await files()).length, 2)
  disk.stubborn = false
  await store.maintain()
  t.deepEqual(await files(), [])
})

test('a block that was put again keeps the file that could not be unlinked', async t => {
  const folder = await temporaryFolder(t)
  const disk = new StubbornDisk(folder)
  const store = await openStore(folder, { disk })
  t.teardown(() => store.close())
  const block = testBlock(200_000, 1)
  const put = async (generation: bigint) => {
    const file = store.receive()
    await file.append(block.data)
    await store.putFile(block, generation, file)
  }
  await put(5n)
  await store.remove(block.id, 5n)
  await put(6n)
  disk.stubborn = false
  await store.maintain()
  const reader = await store.read(block.id)
  t.true(await store.verify(reader))
  await reader.close()
})

/** A disk that syncs no folder before it is told to, and opens no file if it is not to. */
class HeldDisk extends RealDisk {
  held: Promise<void> | undefined
  opens = true

  override async syncFolder(path: string): Promise<void> {
    await this.held
    await super.syncFolder(path)
  }

  override async open(path: string, once?: boolean): ReturnType<RealDisk['open']> {
    if (!this.opens) throw new FsError('EMFILE', 'too many open files')
    return super.open(path, once)
  }
}

async function heldStore(t: { teardown(fn: () => Promise<void>): void }) {
  const folder = await temporaryFolder(t)
  const disk = new HeldDisk(folder)
  const store = await openStore(folder, { disk })
  const put = async (seed: number): Promise<TestBlock> => {
    const block = testBlock(200_000, seed)
    const file = store.receive()
    await file.append(block.data)
    await store.putFile(block, 5n, file)
    return block
  }
  return { folder, disk, store, put }
}

test('a put that is being stored when the store is closed is stored', async t => {
  const { folder, disk, store, put } = await heldStore(t)
  let go = (): void => undefined
  disk.held = new Promise(resolve => {
    go = resolve
  })
  const putting = put(1)
  await new Promise(resolve => setTimeout(resolve, 100))
  const closing = store.close()
  await new Promise(resolve => setTimeout(resolve, 100))
  go()
  const block = await putting
  await closing
  const again = await openStore(folder)
  t.teardown(() => again.close())
  const reader = await again.read(block.id)
  t.true(await again.verify(reader))
  await reader.close()
})

test('blocks that cannot be opened for want of files are not damaged', async t => {
  const { disk, store, put } = await heldStore(t)
  t.teardown(() => store.close())
  await put(1)
  disk.opens = false
  const scrubber = new Scrubber(realEnv(quietLog), store, { bytesPerSecond: 1e9 })
  const stopped = new AbortController()
  const running = scrubber.run(stopped.signal)
  await new Promise(resolve => setTimeout(resolve, 300))
  stopped.abort()
  await running
  t.is(store.damages.found, 0)
})
