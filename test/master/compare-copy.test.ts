import BetterSqlite3 from 'better-sqlite3'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { S_IFDIR, S_IFLNK, S_IFREG } from '#src/core/attr.ts'
import { blockIdOf } from '#src/core/checksum.ts'
import { stampDatabase } from '#src/master/backup/take-backup.ts'
import { checkDatabase } from '#src/master/rpc/check-database.ts'
import { bytes, Fixture } from './store-fixture.ts'

const day = 86_400_000_000_000n

interface Case {
  readonly f: Fixture
  readonly dir: bigint
  readonly file: bigint
  readonly link: bigint
  readonly folder: string
  /** File of the copy. */
  readonly copy: string
  /** What a reading of the database finds beside the copy. `sql`: what happens to the database first. */
  find(sql: string): { problems: readonly string[]; differences: readonly string[]; blocksDiffer: boolean }
}

/** A tree that is a day older than its copy. */
async function make(t: ExecutionContext): Promise<Case> {
  const folder = mkdtempSync(join(tmpdir(), 'cairn-compare-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const f = new Fixture()
  const dir = f.create(1n, 'dir', S_IFDIR | 0o755).attr.ino
  const file = f.create(dir, 'file', S_IFREG | 0o644).attr.ino
  f.commit(file, [
    { offset: 0, length: 5, content: 'hello' },
    { offset: 5, length: 5, content: 'world' },
  ])
  f.store.db.exec("UPDATE blocks SET domain = CAST('a dedup domain.!' AS BLOB) WHERE key = 2")
  f.run(f.setXattrOp(file, 'user.a', Buffer.from('b')))
  const link = f.create(1n, 'link', S_IFLNK | 0o777, { target: bytes('the target') }).attr.ino
  const [copy, database] = [join(folder, 'copy.db'), join(folder, 'master.db')]
  await f.store.db.backup(copy)
  stampDatabase(copy, { taken: f.time + day, program: 'test' })
  f.time += 2n * day
  await f.store.db.backup(database)
  return {
    f,
    dir,
    file,
    link,
    folder,
    copy,
    find: sql => {
      const db = new BetterSqlite3(database)
      db.exec(sql)
      db.close()
      return checkDatabase({ database, copies: [copy] })
    },
  }
}

const flips: Readonly<Record<string, readonly [(c: Case) => string, RegExp, boolean]>> = {
  'the id of a block': [
    () => `UPDATE blocks SET id = zeroblob(32) WHERE key = 1`,
    /^block 1 was [0-9a-f]{64} of 5/,
    true,
  ],
  'the dedup domain of a block': [
    () => `UPDATE blocks SET domain = CAST('a dedup domain.#' AS BLOB) WHERE key = 2`,
    /^block 2 was of the dedup domain 612064656475/,
    true,
  ],
  'the place of an extent in its block': [
    ({ file }) => `UPDATE extents SET block = 3 - block WHERE ino = ${file} AND offset IN (0, 5)`,
    /^inode \d+ had block 1 at 0/,
    true,
  ],
  'a modification time': [
    ({ file }) => `UPDATE inodes SET mtime = mtime + 256 WHERE ino = ${file}`,
    /^inode \d+: mode/,
    false,
  ],
  'an owner': [({ file }) => `UPDATE inodes SET uid = 64 WHERE ino = ${file}`, /^inode \d+: mode/, false],
  'a time of birth, whatever was changed since': [
    ({ file }) => `UPDATE inodes SET btime = btime + 1, ctime = ctime + 1 WHERE ino = ${file}`,
    /^inode \d+: mode/,
    false,
  ],
  'a letter of a name': [
    ({ dir }) => `UPDATE dirents SET name = CAST('fine' AS BLOB) WHERE parent = ${dir}`,
    /^directory \d+ had the name 66696C65/,
    false,
  ],
  'the target of a symlink': [
    ({ link }) => `UPDATE symlinks SET target = CAST('the tarhet' AS BLOB) WHERE ino = ${link}`,
    /^the target of symlink/,
    false,
  ],
  'an extended attribute': [
    ({ file }) => `UPDATE xattrs SET value = CAST('c' AS BLOB) WHERE ino = ${file}`,
    /^extended attribute/,
    false,
  ],
}

for (const [what, [sql, says, ofBlocks]] of Object.entries(flips))
  test(`a flipped bit in ${what} contradicts nothing, and is found beside an earlier copy`, async t => {
    const each = await make(t)
    const { problems, differences, blocksDiffer } = each.find(sql(each))
    t.deepEqual(problems, [])
    t.true(
      differences.some(line => says.test(line)),
      differences.join('\n'),
    )
    t.is(blocksDiffer, ofBlocks)
  })

test('what commands change is no difference', async t => {
  const { f, dir, file, folder, copy } = await make(t)
  f.commit(file, [{ offset: 2, length: 5, content: 'other' }])
  f.run(f.setXattrOp(file, 'user.a', Buffer.from('c')))
  f.run(f.renameOp([dir, 'file'], [1n, 'moved']))
  f.create(dir, 'new', S_IFREG | 0o600)
  f.unlink(1n, 'link')
  const database = join(folder, 'changed.db')
  await f.store.db.backup(database)
  t.deepEqual(checkDatabase({ database, copies: [copy] }), {
    problems: [],
    differences: [],
    unreadable: [],
    blocksDiffer: false,
  })
})

for (const [when, ago] of [
  ['as its last change', 2n * day],
  ['as before its last change', 3n * day],
] as const)
  test(`data that come late, with the same time ${when}, are no difference`, async t => {
    const { f, file, folder, copy } = await make(t)
    const ctime = f.attr(file).ctime
    f.time -= ago
    f.commit(file, [{ offset: 5, length: 9, content: 'come late' }])
    t.is(f.attr(file).ctime, ctime, 'it does not say that there was a change')
    const database = join(folder, 'changed.db')
    await f.store.db.backup(database)
    const found = checkDatabase({ database, copies: [copy] })
    t.deepEqual(found, { problems: [], differences: [], unreadable: [], blocksDiffer: false })
    // A key that is too high by a flipped bit does not pass for a new block.
    const db = new BetterSqlite3(database)
    db.exec(`UPDATE extents SET block = block + 64 WHERE ino = ${file} AND offset = 0`)
    db.close()
    t.true(checkDatabase({ database, copies: [copy] }).problems.length > 0)
  })

test('what contradicts itself is a problem, copies or none', async t => {
  const each = await make(t)
  const { problems } = each.find(`UPDATE blocks SET refs = 7 WHERE key = 1`)
  t.is(problems.length, 1)
})

test('a copy of before dedup domains is compared without them', async t => {
  const each = await make(t)
  const old = new BetterSqlite3(each.copy)
  old.exec('ALTER TABLE blocks DROP COLUMN domain')
  old.close()
  t.deepEqual(each.find('UPDATE blocks SET length = 6 WHERE key = 1').differences, [
    `block 1 was ${blockIdOf(bytes('hello'))} of 5 bytes`,
  ])
})

test('a dedup domain of another length is a problem', async t => {
  const each = await make(t)
  t.deepEqual(each.find(`UPDATE blocks SET domain = zeroblob(15) WHERE key = 2`).problems, [
    'Block 2 has a dedup domain of 15 bytes',
  ])
})

test('a copy that cannot be read leaves its place to the next, and is told of', async t => {
  const each = await make(t)
  const [garbage, short] = ['garbage.db', 'short.db'].map(name => join(each.folder, name)) as [string, string]
  writeFileSync(garbage, 'this is no database'.repeat(1000))
  writeFileSync(short, readFileSync(each.copy).subarray(0, 5000))
  each.find('UPDATE blocks SET id = zeroblob(32) WHERE key = 1')
  const database = join(each.folder, 'master.db')
  const gone = join(each.folder, 'gone.db')
  const found = checkDatabase({ database, copies: [garbage, short, each.copy, gone] })
  t.deepEqual(found.differences, [`block 1 was ${blockIdOf(bytes('hello'))} of 5 bytes`])
  t.deepEqual(
    found.unreadable.map(line => line.slice(0, line.indexOf(':'))),
    ['gone.db', 'garbage.db', 'short.db'],
  )
  const without = checkDatabase({ database, copies: [short] })
  t.like(
    without,
    { differences: [], blocksDiffer: false },
    'what contradicts nothing is all that counts then',
  )
  t.is(without.unreadable.length, 1)
  t.false(existsSync(gone))
})
