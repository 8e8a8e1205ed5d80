import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { pathOf } from '#src/chunkserver/blocks/layout.ts'
import { RealDisk } from '#src/chunkserver/disk/real-disk.ts'
import { FsError } from '#src/core/errors.ts'
import { testBlock } from './support/test-client.ts'
import { openStore, temporaryFolder } from './support/test-node.ts'

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
