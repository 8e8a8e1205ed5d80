import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { proveFolder, whatOfProof } from '#src/chunkserver/blocks/proof.ts'
import { UsageError } from '#src/core/errors.ts'
import { RealDisk } from '#src/chunkserver/disk/real-disk.ts'
import { openStore, temporaryFolder } from './support/test-node.ts'

test('a folder proves whose it is: a torn proof is made anew, another store’s is refused', async t => {
  const folder = await temporaryFolder(t)
  const store = await openStore(folder)
  const disk = new RealDisk(folder)
  const { store: id } = store.identity
  t.is(await whatOfProof(disk, id), 'right')
  for (const torn of ['', '\0'.repeat(33), '0123']) {
    await writeFile(join(folder, 'store-id'), torn)
    t.is(await whatOfProof(disk, id), 'missing')
    await proveFolder(disk, id)
    t.is(await whatOfProof(disk, id), 'right')
  }
  t.is(await whatOfProof(disk, new Uint8Array(16)), 'other')
  await t.throwsAsync(proveFolder(disk, new Uint8Array(16)), {
    instanceOf: UsageError,
    message: /another store/,
  })
  await store.close()
  const again = await openStore(folder)
  await again.close()
})

test('a store whose folder is emptied in use takes no puts, and blames no block', async t => {
  const folder = await temporaryFolder(t)
  const store = await openStore(folder)
  t.teardown(() => store.close())
  await store.maintain()
  t.is(store.space.status().refusing, undefined)
  await rm(join(folder, 'store-id'))
  await store.maintain()
  t.like(store.space.status(), { failing: true })
  t.regex(store.space.status().refusing ?? '', /emptied or unmounted while it was in use/)
  t.deepEqual([...store.damages], [])
})
