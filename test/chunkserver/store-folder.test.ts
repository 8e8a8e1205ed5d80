import { open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { openBlockStore } from '#src/cli/daemons/open-block-store.ts'
import Database from 'better-sqlite3'
import { blockIdOf } from '#src/core/checksum.ts'
import { FsError, UsageError } from '#src/core/errors.ts'
import { KiB } from '#src/core/units.ts'
import { realEnv } from '#src/env/real-env.ts'
import { repairNodeFolder } from '#src/cli/repair-node-folder.ts'
import { type TestBlock, testBlock } from './support/test-client.ts'
import { checksums, openStore, quietLog, temporaryFolder } from './support/test-node.ts'

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
    message: /the block index is damaged \(.*\): cairn fsck --repair/,
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

function inDomain(block: TestBlock): TestBlock {
  const id = blockIdOf(block.data, Buffer.alloc(16, 7))
  return { ...block, id, checksums: checksums.make(id, block.data) }
}

async function putAll(folder: string, blocks: readonly TestBlock[]): Promise<void> {
  const store = await openStore(folder)
  for (const block of blocks) {
    if (block.length <= 64 * KiB) {
      await store.putRow(block, 5n, block.data)
      continue
    }
    const file = store.receive()
    await file.append(block.data)
    await store.putFile(block, 5n, file)
  }
  await store.close()
}

test('files that are still to be proved are found again after an end in order', async t => {
  const folder = await temporaryFolder(t)
  const own = inDomain(testBlock(200 * KiB, 1))
  await putAll(folder, [own])
  const db = new Database(join(folder, 'index.sqlite'))
  db.exec('DELETE FROM block; DELETE FROM change; DELETE FROM bucket; UPDATE store SET files = 0, clean = 0')
  db.close()
  for (let start = 0; start < 2; start++) {
    const store = await openStore(folder)
    t.deepEqual([...store.unproven.keys()], [own.id])
    if (start === 1) t.true(await store.adopt(own.id))
    await store.close()
  }
  const store = await openStore(folder)
  t.teardown(() => store.close())
  t.is(store.unproven.size, 0)
  await (await store.read(own.id)).close()
})

test('the cluster of a store that no file tells yet is taken from its index, however much of that is wrong', async t => {
  const folder = await temporaryFolder(t)
  const own = inDomain(testBlock(200 * KiB, 1))
  await putAll(folder, [own])
  const before = await openStore(folder)
  const cluster = new Uint8Array(16).fill(9)
  await before.join(cluster, 7n)
  await before.close()
  await rm(join(folder, 'cluster-id'))
  // As if the index was that of another folder.
  await writeFile(join(folder, 'store-id'), `${'5'.repeat(32)}\n`)
  await t.throwsAsync(openStore(folder), { message: /another store/ })
  t.like(await repairNodeFolder(realEnv(quietLog), folder, true), { done: { unproven: 1 } })
  const store = await openStore(folder)
  t.teardown(() => store.close())
  t.deepEqual([store.identity.cluster, store.identity.node], [cluster, 0n])
})

test('a start that is refused has changed nothing', async t => {
  const folder = await temporaryFolder(t)
  const block = testBlock(200 * KiB, 1)
  await putAll(folder, [block])
  await writeFile(join(folder, 'store-id'), `${'5'.repeat(32)}\n`)
  const db = new Database(join(folder, 'index.sqlite'))
  db.exec(`INSERT INTO unlinked (id) VALUES (x'${block.id}'); UPDATE store SET clean = 0`)
  db.close()
  for (let tries = 0; tries < 2; tries++) await t.throwsAsync(openStore(folder), { message: /another store/ })
  t.deepEqual(await readdir(join(folder, 'blocks', block.id.slice(0, 2))), [block.id])
})

for (const [what, spoil] of [
  ['lost', (index: string) => rm(index)],
  ['damaged', (index: string) => writeFile(index, 'not a database at all'.repeat(1000))],
] as const)
  test(`an index that was ${what} is made anew from the files, as that of a new node`, async t => {
    const folder = await temporaryFolder(t)
    const [plain, own, small] = [
      testBlock(200 * KiB, 1),
      inDomain(testBlock(300 * KiB, 2)),
      testBlock(1000, 3),
    ]
    await putAll(folder, [plain, own, small])
    const before = await openStore(folder)
    const { store: id } = before.identity
    const cluster = new Uint8Array(16).fill(9)
    await before.join(cluster, 7n)
    await before.close()
    const env = realEnv(quietLog)
    t.deepEqual(await repairNodeFolder(env, folder, true), { why: undefined, files: 2, done: undefined })
    await spoil(join(folder, 'index.sqlite'))
    await t.throwsAsync(openStore(folder), { message: /cairn fsck --repair|not a database/ })
    // Being refused may leave an empty one, which is none either.
    await t.throwsAsync(openStore(folder), { message: /cairn fsck --repair|not a database/ })
    const said = await repairNodeFolder(env, folder, false)
    t.is(said.files, 2)
    t.truthy(said.why)
    t.is(said.done, undefined)
    t.false(
      (await readdir(folder)).some(name => name.includes('before-repair')),
      'nothing was changed',
    )
    const { done } = await repairNodeFolder(env, folder, true)
    t.like(done, { adopted: 1, unproven: 1 })
    t.true((await readdir(folder)).includes(done?.aside ?? 'none'))
    const store = await openStore(folder)
    t.teardown(() => store.close())
    t.is(store.identity.node, 0n)
    t.deepEqual(store.identity.cluster, cluster, 'no other master may take its blocks for strays')
    t.notDeepEqual(store.identity.store, id, 'another store: the old one may have had what this one lacks')
    await (await store.read(plain.id)).close()
    await t.throwsAsync(store.read(own.id), { code: 'ENOENT' }, 'not before the master has proved it')
    await t.throwsAsync(store.read(small.id), { code: 'ENOENT' })
    t.true(await store.adopt(own.id))
    await (await store.read(own.id)).close()
  })
