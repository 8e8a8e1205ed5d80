import BetterSqlite3 from 'better-sqlite3'
import test from 'ava'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { S_IFDIR, S_IFREG } from '#src/core/attr.ts'
import { FsError, UsageError } from '#src/core/errors.ts'
import type { NodeId, SessionId } from '#src/core/ids.ts'
import { fsck } from '#src/master/fsck/fsck.ts'
import { schemaVersion } from '#src/master/store/format.ts'
import { openDatabase, openDatabaseReader } from '#src/master/store/open-database.ts'
import { Store } from '#src/master/store/store.ts'
import { executeCommand } from '#src/master/namespace/execute-command.ts'
import { bytes, Fixture, format } from './store-fixture.ts'

function withFolder(use: (path: (name: string) => string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'cairn-store-'))
  try {
    use(name => join(folder, name))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const refusal = (open: () => unknown): string => {
  try {
    open()
  } catch (thrown) {
    if (thrown instanceof UsageError) return thrown.message
    throw thrown
  }
  return 'none'
}

test('a database is made once, opened again, and read beside the one who writes', t => {
  withFolder(path => {
    const file = path('master.db')
    Store.format(openDatabase(file), format).close()
    {
      using store = Store.open(openDatabase(file))
      t.deepEqual(store.format.facts, format)
      t.is(
        store.transaction(() => store.format.beginIncarnation()),
        1n,
      )
      using reader = Store.snapshot(openDatabaseReader(file))
      store.transaction(() => store.format.beginIncarnation())
      t.is(reader.format.incarnation, 1n)
      t.deepEqual(fsck(reader).problems, [])
    }
    using again = Store.open(openDatabase(file))
    t.is(again.format.incarnation, 2n)
    t.is(again.db.pragma('synchronous', { simple: true }), 2)
    t.is(again.db.pragma('journal_mode', { simple: true }), 'wal')
  })
})

test('what is no database of ours, or damaged, or newer, is refused with one line', t => {
  withFolder(path => {
    writeFileSync(
      path('text'),
      'no database at all, but long enough to be read as the header of one, surely'.repeat(9),
    )
    t.regex(
      refusal(() => Store.open(openDatabase(path('text')))),
      /^The master database is damaged .*backup$/,
    )
    t.regex(
      refusal(() => Store.open(openDatabase(path('empty')))),
      /^The file is not the database of a Cairn master$/,
    )
    t.regex(
      refusal(() => openDatabase(path('none/master.db'))),
      /^Cannot open the master database/,
    )

    const file = path('master.db')
    Store.format(openDatabase(file), format).close()
    t.regex(
      refusal(() => Store.format(openDatabase(file), format)),
      /not empty/,
    )

    const whole = readFileSync(file)
    const torn = Buffer.from(whole)
    torn.fill(0x5a, 4096 * 3, 4096 * 5)
    writeFileSync(path('torn'), torn)
    t.regex(
      refusal(() => Store.open(openDatabase(path('torn')))),
      /^The master database is damaged .*backup$/,
    )
    writeFileSync(path('short'), whole.subarray(0, 4096 * 4))
    t.regex(
      refusal(() => Store.open(openDatabase(path('short')))),
      /^The master database is damaged/,
    )

    const newer = new BetterSqlite3(file)
    newer.exec('UPDATE format SET version = 9')
    newer.close()
    t.regex(
      refusal(() => Store.open(openDatabase(file))),
      /format version 9, .* use a newer Cairn$/,
    )
  })
})

test('a command that fails takes back only itself; a transaction that fails takes back all', t => {
  using f = new Fixture()
  const { store } = f
  store.begin()
  const create = (name: string): void => {
    store.savepoint(() => executeCommand(store, f.createOp(f.root, name, S_IFREG), f.ctx))
  }
  create('a')
  t.throws(() => create('a'), { instanceOf: FsError })
  t.throws(() =>
    store.savepoint(() => {
      executeCommand(store, f.createOp(f.root, 'b', S_IFREG), f.ctx)
      throw new FsError('EIO')
    }),
  )
  create('c')
  store.commit()
  t.deepEqual(f.list(f.root), ['a', 'c'])
  t.is(store.inodes.count, 3n)

  store.begin()
  create('d')
  const next = store.counters.peek('ino')
  store.rollback()
  t.deepEqual(f.list(f.root), ['a', 'c'])
  t.is(store.inodes.count, 3n)
  // The number may have been told to somebody.
  t.is(store.counters.peek('ino'), next)
  t.deepEqual(fsck(store).problems, [])
  t.throws(() => store.savepoint(() => 1), { message: /in a transaction/ })
})

test('ids go on where they were, after a crash between any two transactions', t => {
  using f = new Fixture()
  const seen = new Set<bigint>()
  let image = f.store.db.serialize()
  for (let i = 0; i < 5; i += 1) {
    using store = Store.open(new BetterSqlite3(image))
    const result = store.transaction(() => executeCommand(store, f.createOp(f.root, `f${i}`, S_IFREG), f.ctx))
    if (result.$case !== 'entry') throw new Error(result.$case)
    const ino = result.value.attr?.ino ?? 0n
    t.false(seen.has(ino))
    seen.add(ino)
    t.deepEqual(fsck(store).problems, [])
    image = store.db.serialize()
  }
})

test('generations that nothing refers to are issued without writing, and none twice, after a crash either', t => {
  using f = new Fixture()
  const { store } = f
  const written = () => store.db.prepare('SELECT total_changes()').pluck().get()
  store.transaction(() => store.counters.issue('generation'))
  const before = written()
  const last = store.transaction(() => store.counters.issue('generation'))
  t.is(written(), before)
  using again = Store.open(new BetterSqlite3(store.db.serialize()))
  t.true(again.counters.peek('generation') > last)
  // What is ahead is used up at last.
  let [issued, writes] = [last, 0]
  for (let i = 0; i < 200; i += 1) {
    const changes = written()
    const next = store.transaction(() => store.counters.issue('generation', 1000))
    t.true(next > issued)
    issued = next
    if (written() !== changes) writes += 1
  }
  t.true(writes > 0 && writes < 10)
})

test('fsck finds each kind of damage', t => {
  const damages: readonly (readonly [sql: string, says: RegExp])[] = [
    ['UPDATE inodes SET nlink = 7 WHERE ino = 2', /Inode 2 has 1 names but a link count of 7/],
    ['UPDATE inodes SET nlink = 7 WHERE ino = 3', /Directory 3 has a link count of 7 instead of 2/],
    ['UPDATE inodes SET parent = 3 WHERE ino = 3', /Directory 3 is in 1 but its \.\. leads to 3/],
    ["DELETE FROM dirents WHERE name = x'64'", /Directory 3 has 0 names/],
    ['UPDATE dirents SET parent = 3 WHERE ino = 3', /reaches 1 directories of 2/],
    ['DELETE FROM inodes WHERE ino = 2', /Inode 2 is missing, but there is a name of it/],
    ['UPDATE dirents SET type = 16384 WHERE ino = 2', /another type/],
    ['UPDATE inodes SET allocated = 1 WHERE ino = 2', /extents of 6 bytes but counts 1/],
    ['UPDATE inodes SET size = 4 WHERE ino = 2', /at 0 is beyond the file's size/],
    ['UPDATE extents SET length = 9', /is not within its block/],
    ['INSERT INTO extents VALUES (2, 1, 1, 1, 0)', /at 1 overlaps/],
    ['INSERT INTO extents VALUES (99, 1, 1, 1, 0)', /inode 99 at 1 belongs to no inode/],
    ['INSERT INTO extents VALUES (2, 100, 1, 77, 0)', /missing or not live/],
    ['INSERT INTO doomed VALUES (2, 3, 5)', /crosses the border/],
    ['INSERT INTO doomed VALUES (2, 50, 60), (2, 55, 70)', /at 55 is empty or overlaps/],
    ['UPDATE blocks SET refs = 2', /named by 1 extents but counts 2/],
    ['UPDATE blocks SET state = 1', /has 1 references but is in state 1/],
    ['UPDATE blocks SET have = 1', /has 2 replicas but counts 1/],
    ['DELETE FROM replicas', /in use but no node has it/],
    ['DELETE FROM blocks', /Block 1 is missing, but there are replicas/],
    ['DELETE FROM nodes WHERE id = 1', /on node 1, which is unknown/],
    ['INSERT INTO orphans VALUES (2, 1)', /Inode 2 has a name but is an orphan/],
    ['INSERT INTO orphans VALUES (98, 1)', /Inode 98 is missing, but there is an orphan row/],
    ['DELETE FROM orphans', /Inode 4 has no name and nobody has it open/],
    ['DELETE FROM sessions WHERE id = 1', /orphan of an unknown session/],
    ["INSERT INTO xattrs VALUES (3, x'61', x'61')", /attributes without an inode that knows/],
    ['UPDATE inodes SET flags = 2 WHERE ino = 3', /default ACL and its flag disagree/],
    ['DELETE FROM symlinks', /symbolic link without a target/],
    ["INSERT INTO symlinks VALUES (2, x'61')", /target without a symbolic link/],
    ["INSERT INTO replies VALUES (77, 1, x'')", /replies are kept for session 77/],
    ["UPDATE counters SET value = 3 WHERE name = 'ino'", /next ino would be 3/],
    ["UPDATE counters SET value = 3 WHERE name = 'inodes'", /total of inodes is 3, counted 5/],
    ['UPDATE inodes SET parent = 3 WHERE ino = 1', /root directory is missing/],
  ]
  using f = new Fixture()
  const { ino } = f.create(f.root, 'f', S_IFREG).attr
  f.create(f.root, 'd', S_IFDIR)
  f.create(f.root, '', S_IFREG, { tmpfile: true })
  f.create(f.root, 's', 0o120777, { target: bytes('t') })
  f.commit(ino, [{ offset: 0, length: 6, content: 'abcdef' }])
  t.deepEqual(fsck(f.store).problems, [])
  t.like(fsck(f.store), { inodes: 5n, dirents: 3n, extents: 1n, blocks: 1n, replicas: 2n })
  const sound = f.store.db.serialize()
  for (const [sql, says] of damages) {
    const db = new BetterSqlite3(sound)
    db.exec(sql)
    using store = Store.open(db)
    const { problems } = fsck(store)
    t.true(
      problems.some(line => says.test(line)),
      `${sql}: ${problems.join('; ')}`,
    )
  }
})

test('fsck says how many more there are of one kind', t => {
  using f = new Fixture()
  for (let i = 0; i < 50; i += 1) f.create(f.root, `f${i}`, S_IFREG)
  f.store.db.exec('UPDATE inodes SET nlink = 2 WHERE ino > 1')
  const { problems } = fsck(f.store)
  t.is(problems.length, 21)
  t.is(problems.at(-1), '... and 30 more: link count')
})

test('reserved inode numbers are used once, by their session, across a restart', t => {
  withFolder(path => {
    const file = path('db')
    const [mine, other] = [1n as SessionId, 2n as SessionId]
    const codeOf = (work: () => unknown): string => {
      try {
        return String(work())
      } catch (thrown) {
        return thrown instanceof FsError ? thrown.code : String(thrown)
      }
    }
    let first = 0n
    {
      using store = Store.format(openDatabase(file), format)
      store.transaction(() => {
        first = store.inoRanges.reserve(mine, 10)
        t.is(BigInt(store.inodes.issueIno()), first + 10n)
        t.is(BigInt(store.inoRanges.take(mine, first + 2n)), first + 2n)
      })
    }
    using store = Store.open(openDatabase(file))
    store.transaction(() => {
      t.is(
        codeOf(() => store.inoRanges.take(mine, first + 2n)),
        'EINVAL',
      )
      t.is(
        codeOf(() => store.inoRanges.take(mine, first + 1n)),
        'EINVAL',
      )
      t.is(
        codeOf(() => store.inoRanges.take(other, first + 3n)),
        'EINVAL',
      )
      t.is(
        codeOf(() => store.inoRanges.take(mine, first + 10n)),
        'EINVAL',
      )
      t.is(BigInt(store.inoRanges.take(mine, first + 9n)), first + 9n)
      for (let n = 0; n < 8; n++) store.inoRanges.reserve(other, 1)
      const latest = store.inoRanges.reserve(other, 1)
      t.is(store.inoRanges.take(other, latest), latest)
      store.inoRanges.sessionEnded(other)
      t.is(
        codeOf(() => store.inoRanges.take(other, latest - 1n)),
        'EINVAL',
      )
    })
  })
})

test('a database of version 1 is brought up to date, once', t => {
  withFolder(path => {
    const file = path('db')
    {
      using store = Store.format(openDatabase(file), format)
      store.db.exec(
        'DROP TABLE ino_ranges; DROP INDEX blocks_surplus; DROP TABLE restores; DROP TABLE unverified;\
         DROP TABLE bad_copies; DROP TABLE switches; DROP TABLE node_labels; DROP TABLE exports; DROP TABLE export_identities;\
         ALTER TABLE sessions DROP COLUMN export; ALTER TABLE sessions DROP COLUMN domain; ALTER TABLE blocks DROP COLUMN domain;\
         ALTER TABLE nodes DROP COLUMN identity; ALTER TABLE sessions DROP COLUMN identity; UPDATE format SET version = 1',
      )
    }
    for (const session of [1n, 2n]) {
      using store = Store.open(openDatabase(file))
      t.is(store.db.prepare('SELECT version FROM format').pluck().get(), schemaVersion)
      store.transaction(() => t.true(store.inoRanges.reserve(session as SessionId, 10) >= 2n))
      t.deepEqual(store.blocks.surplusAfter(0n, 10), [])
      t.deepEqual(store.badCopies.all(), [])
      t.false(store.switches.isOn('rebalance'))
      t.is(store.nodeLabels.of(1n as NodeId), '')
      t.is(store.exports.size, 0)
      t.deepEqual(fsck(store).problems, [])
    }
  })
})
