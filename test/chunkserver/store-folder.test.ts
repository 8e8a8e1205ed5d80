import { open, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { openBlockStore } from '#src/cli/daemons/open-block-store.ts'
import { FsError, UsageError } from '#src/core/errors.ts'
import { KiB } from '#src/core/units.ts'
import { realEnv } from '#src/env/real-env.ts'
import { testBlock } from './support/test-client.ts'
import { openStore, quietLog, temporaryFolder } from './support/test-node.ts'

/** Of a damaged index the opening tells, too. */
const died = (error: Error): void => {
  if (!(error instanceof UsageError)) throw error
}

test('blocks are there again after a restart, with the index in its threads', async t => {
  const folder = await temporaryFolder(t)
  const { store } = await openBlockStore(realEnv(quietLog), folder, died)
  const [small, large] = [testBlock(1000, 1), testBlock(200 * KiB, 2)]
  await store.putRow(small, 5n, small.data)
  const file = store.receive()
  await file.append(large.data)
  await store.putFile(large, 6n, file)
  await store.close()
  const again = await openBlockStore(realEnv(quietLog), folder, died)
  t.teardown(() => again.store.close())
  for (const block of [small, large]) {
    const reader = await again.store.read(block.id)
    const { bytes, release } = await reader.read(0, block.length)
    t.is(Buffer.compare(bytes, block.data), 0)
    release()
    await reader.close()
  }
  t.is(again.store.identity.incarnation, store.identity.incarnation + 1n)
  t.deepEqual(again.store.identity.store, store.identity.store)
})

test('an index that is no database is one clear line', async t => {
  const folder = await temporaryFolder(t)
  await writeFile(join(folder, 'index.sqlite'), 'not a database at all'.repeat(1000))
  await t.throwsAsync(openBlockStore(realEnv(quietLog), folder, died), {
    instanceOf: UsageError,
    message: /Cannot use .*block index.*not a database/,
  })
})

test('a damaged index is one clear line', async t => {
  const folder = await temporaryFolder(t)
  const store = await openStore(folder)
  for (let seed = 0; seed < 100; seed++) {
    const block = testBlock(3000, seed)
    await store.putRow(block, 5n, block.data)
  }
  await store.close()
  const path = join(folder, 'index.sqlite')
  const { length } = await readFile(path)
  const file = await open(path, 'r+')
  // All but the first page, which says that it is a database of Cairn.
  await file.write(Buffer.alloc(length - 8192, 0xa5), 0, length - 8192, 8192)
  await file.close()
  await t.throwsAsync(openBlockStore(realEnv(quietLog), folder, died), {
    instanceOf: UsageError,
    message: /the block index is damaged \(.*\): with an empty folder/,
  })
})

test('an index that is damaged while it is in use ends the daemon with one clear line', async t => {
  const folder = await temporaryFolder(t)
  const deaths: Error[] = []
  const { store } = await openBlockStore(realEnv(quietLog), folder, error => deaths.push(error))
  t.teardown(() => store.close().catch(() => undefined))
  const blocks = Array.from({ length: 100 }, (_, seed) => testBlock(3000, seed))
  for (const block of blocks) await store.putRow(block, 5n, block.data)
  // What was written last is in the log still; the reading thread has no page of it in memory.
  const path = join(folder, 'index.sqlite-wal')
  const { length } = await readFile(path)
  const file = await open(path, 'r+')
  await file.write(Buffer.alloc(length - 32, 0xa5), 0, length - 32, 32)
  await file.close()
  await t.throwsAsync(store.read(blocks[0]?.id ?? testBlock(1, 1).id))
  t.true(deaths[0] instanceof UsageError)
  t.regex(
    deaths[0]?.message ?? '',
    /^Cannot use .*: the block index is damaged \(.*(malformed|not a database).*\)/,
  )
})

test('an index that was closed in order is one file', async t => {
  const folder = await temporaryFolder(t)
  const { store } = await openBlockStore(realEnv(quietLog), folder, died)
  const block = testBlock(1000, 1)
  await store.putRow(block, 5n, block.data)
  await (await store.read(block.id)).close()
  await store.close()
  t.deepEqual(
    (await readdir(folder)).filter(name => name.startsWith('index')),
    ['index.sqlite'],
  )
})

test('a folder that cannot be written is one clear line', async t => {
  const folder = await temporaryFolder(t)
  await t.throwsAsync(openBlockStore(realEnv(quietLog), join(folder, 'missing'), died), {
    instanceOf: UsageError,
    message: /Cannot use .*missing/,
  })
})

test('free space is given back after deletions', async t => {
  const folder = await temporaryFolder(t)
  const store = await openStore(folder)
  t.teardown(() => store.close())
  const blocks = Array.from({ length: 40 }, (_, seed) => testBlock(60_000, seed))
  for (const block of blocks) await store.putRow(block, 5n, block.data)
  t.true(store.totals.bytes > 40 * 60_000)
  await Promise.all(blocks.map(block => store.remove(block.id, 5n)))
  t.is(store.totals.bytes, 0)
  for (let tries = 0; tries < 3; tries++) await store.maintain()
  t.is(await store.index.ask('vacuum', { pages: 1 }), 0)
  await t.throwsAsync(store.read(blocks[0]?.id ?? testBlock(1, 1).id), {
    instanceOf: FsError,
    code: 'ENOENT',
  })
})
