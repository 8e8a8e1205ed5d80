import BetterSqlite3 from 'better-sqlite3'
import test from 'ava'
import { S_IFDIR, S_IFLNK, S_IFREG } from '#src/core/attr.ts'
import { UsageError } from '#src/core/errors.ts'
import { fsck } from '#src/master/fsck/fsck.ts'
import { repair } from '#src/master/fsck/repair.ts'
import { Store } from '#src/master/store/store.ts'
import { bytes, Fixture } from './store-fixture.ts'

const time = 5_000_000n

interface Tree {
  readonly f: Fixture
  readonly dir: bigint
  readonly file: bigint
  readonly link: bigint
}

/** A directory with a file of two blocks, one of them shared; a symbolic link; another file. */
function makeTree(): Tree {
  const f = new Fixture()
  const dir = f.create(1n, 'dir', S_IFDIR | 0o755).attr.ino
  f.create(dir, 'sub', S_IFDIR | 0o755)
  const file = f.create(dir, 'file', S_IFREG | 0o644).attr.ino
  f.link(file, 1n, 'second name')
  f.commit(file, [
    { offset: 0, length: 5, content: 'hello' },
    { offset: 5, length: 5, content: 'world' },
  ])
  const other = f.create(1n, 'other', S_IFREG | 0o644).attr.ino
  f.commit(other, [{ offset: 0, length: 5, content: 'hello' }])
  f.run(f.setXattrOp(other, 'user.a', Buffer.from('b')))
  const gone = f.create(1n, 'gone', S_IFREG | 0o644).attr.ino
  f.commit(gone, [{ offset: 0, length: 5, content: 'gone!' }])
  f.unlink(1n, 'gone')
  const link = f.create(1n, 'link', S_IFLNK | 0o777, { target: bytes('the target') }).attr.ino
  return { f, dir, file, link }
}

type Sql = string | ((tree: Tree) => string)

interface Damage {
  readonly breaks: Sql
  /** What is said to be done. */
  readonly does: RegExp
  /** What must be so afterwards, besides fsck being content: a query that gives 1. */
  readonly then?: Sql
}

const damages: Readonly<Record<string, Damage>> = {
  'link count of a file': {
    breaks: ({ file }) => `UPDATE inodes SET nlink = 7 WHERE ino = ${file}`,
    does: /count 2 links of inode/,
  },
  'link count of a directory': {
    breaks: ({ dir }) => `UPDATE inodes SET nlink = 9 WHERE ino = ${dir}`,
    does: /count 3 links of directory/,
  },
  'allocated bytes': {
    breaks: ({ file }) => `UPDATE inodes SET allocated = 1 WHERE ino = ${file}`,
    does: /count 10 allocated bytes/,
  },
  'reference count': { breaks: 'UPDATE blocks SET refs = 9 WHERE refs = 2', does: /count 2 references/ },
  'a used block that is said to be removed': {
    breaks: 'UPDATE blocks SET state = 1, refs = 0 WHERE refs = 2',
    does: /to which files refer, as in use/,
  },
  'an unused block that is said to be used': {
    breaks: 'UPDATE blocks SET refs = 1, state = 0 WHERE refs = 0',
    does: /to which nothing refers, as removed now/,
    then: `SELECT count(*) FROM blocks WHERE state = 1 AND since = ${time}`,
  },
  'number of copies': {
    breaks: 'UPDATE blocks SET have = 9 WHERE refs = 2',
    does: /count 2 copies of block/,
  },
  'no copies wanted': {
    breaks: 'UPDATE blocks SET wanted = 0 WHERE refs = 2',
    does: /want 2 copies of block/,
  },
  'copies of no block': {
    breaks: 'INSERT INTO replicas VALUES (999, 1, 1)',
    does: /forget a copy on chunkserver 1 of block 999/,
  },
  'copies on no node': {
    breaks: 'INSERT INTO replicas SELECT key, 77, 1 FROM blocks WHERE refs = 2',
    does: /on chunkserver 77, which does not exist/,
  },
  totals: {
    breaks: "UPDATE counters SET value = 99 WHERE name IN ('inodes', 'liveBlocks', 'liveBytes')",
    does: /set the total of liveBytes to 10/,
  },
  'id counters': {
    breaks: "UPDATE counters SET value = 2 WHERE name IN ('ino', 'block', 'cookie', 'generation')",
    does: /issue ids of kind ino from/,
    then: "SELECT min(value) > 1000000 FROM counters WHERE name IN ('ino', 'block', 'cookie', 'generation')",
  },
  'name of nothing': {
    breaks: "INSERT INTO dirents VALUES (1, x'6e', 999, 32768, 12345)",
    does: /a name in directory 1 of inode 999/,
  },
  'name in nothing': {
    breaks: ({ file }) => `INSERT INTO dirents VALUES (998, x'6e', ${file}, ${S_IFREG}, 12345)`,
    does: /in 998, which is no directory any more/,
  },
  'type of a name': {
    breaks: ({ file }) => `UPDATE dirents SET type = ${S_IFLNK} WHERE ino = ${file}`,
    does: /the type of the inode/,
  },
  'parent of a directory': {
    breaks: ({ dir }) => `UPDATE inodes SET parent = 55 WHERE ino = ${dir}`,
    does: /let \.\. of directory \d+ lead to 1/,
  },
  'parent of a file': {
    breaks: ({ file }) => `UPDATE inodes SET parent = 55 WHERE ino = ${file}`,
    does: /forget the parent 55/,
  },
  'size of a symbolic link': {
    breaks: ({ link }) => `UPDATE inodes SET size = 3 WHERE ino = ${link}`,
    does: /the size 10 of its target/,
  },
  'target of no link': {
    breaks: "INSERT INTO symlinks VALUES (999, x'61')",
    does: /remove the target of 999/,
  },
  'attributes of nothing': {
    breaks: "INSERT INTO xattrs VALUES (999, x'61', x'62')",
    does: /remove attributes of inode 999/,
  },
  'flag of attributes': { breaks: 'UPDATE inodes SET flags = 0', does: /has attributes/ },
  'orphan of nothing': { breaks: 'INSERT INTO orphans VALUES (999, 1)', does: /has inode 999 open/ },
  'orphan with a name': {
    breaks: ({ file }) => `INSERT INTO orphans VALUES (${file}, 1)`,
    does: /open after its removal: it has a name/,
  },
  'replies to nobody': {
    breaks: "INSERT INTO replies VALUES (88, 1, x'00')",
    does: /remove replies to session 88/,
  },
  'extents of nothing': {
    breaks: 'INSERT INTO extents SELECT 999, 0, 5, key, 0 FROM blocks WHERE refs = 2',
    does: /the extent at 0 of inode 999/,
  },
  'range to be cleared of an inode that does not know': {
    breaks: ({ file }) => `INSERT INTO doomed VALUES (${file}, 100, 200)`,
    does: /has a range to be cleared/,
  },
  'empty range': {
    breaks: 'INSERT INTO doomed VALUES (999, 200, 200)',
    does: /an empty range to be cleared of inode 999/,
  },
  'removed and open nowhere': {
    breaks: ({ file }) =>
      `DELETE FROM dirents WHERE ino = ${file}; UPDATE inodes SET nlink = 0 WHERE ino = ${file}`,
    does: /finish the removal of inode/,
    then: ({ file }) => `SELECT count(*) = 0 FROM inodes WHERE ino = ${file}`,
  },
  'open by a session that has ended': {
    breaks: ({ file }) =>
      `DELETE FROM dirents WHERE ino = ${file}; UPDATE inodes SET nlink = 0 WHERE ino = ${file};
       INSERT INTO orphans VALUES (${file}, 99)`,
    does: /let go of inode \d+, which session 99 had open/,
    then: ({ file }) => `SELECT count(*) = 0 FROM inodes WHERE ino = ${file}`,
  },
  'open, without a name, and said to have one': {
    breaks: ({ file }) => `DELETE FROM dirents WHERE ino = ${file}; INSERT INTO orphans VALUES (${file}, 1)`,
    does: /which has no name and is open somewhere, as removed/,
    then: ({ file }) => `SELECT nlink = 0 FROM inodes WHERE ino = ${file}`,
  },
  'a file that lost its names': {
    breaks: ({ file }) => `DELETE FROM dirents WHERE ino = ${file}`,
    does: /give inode \d+ the name \/lost\+found\/#/,
    then: ({ file }) => `SELECT count(*) FROM dirents d JOIN inodes p ON p.ino = d.parent
      WHERE d.ino = ${file} AND d.name = CAST('#${file}' AS BLOB) AND p.parent = 1`,
  },
  'a directory that lost its name': {
    breaks: ({ dir }) => `DELETE FROM dirents WHERE ino = ${dir}`,
    does: /give inode \d+ the name \/lost\+found\/#/,
    then: ({ dir, file }) => `SELECT count(*) FROM dirents WHERE parent = ${dir} AND ino = ${file}`,
  },
}

const sqlOf = (sql: Sql, tree: Tree): string => (typeof sql === 'string' ? sql : sql(tree))

for (const [name, { breaks, does, then }] of Object.entries(damages))
  test(`repairs: ${name}`, t => {
    const tree = makeTree()
    using store = reopened(tree, breaks)
    t.true(fsck(store).problems.length > 0, 'it is broken')
    const before = dump(store)
    using copy = open(store.db.serialize())
    const rehearsal = repair(copy, time, false)
    t.deepEqual(dump(copy), before, 'a rehearsal changes nothing')
    t.true(
      rehearsal.actions.some(action => does.test(action)),
      rehearsal.actions.join('; '),
    )
    const { actions, left } = repair(store, time, true)
    t.deepEqual(actions, rehearsal.actions)
    t.deepEqual(left, [])
    t.deepEqual(fsck(store).problems, [])
    if (then !== undefined) t.is(store.db.prepare(sqlOf(then, tree)).pluck().get(), 1)
    t.deepEqual(repair(store, time, true).actions, [], 'once is enough')
  })

test('what a file held is never guessed: it is left and told', t => {
  const tree = makeTree()
  using store = reopened(
    tree,
    ({ file }) =>
      `UPDATE extents SET length = 8 WHERE ino = ${file} AND offset = 0;
       DELETE FROM blocks WHERE key = (SELECT block FROM extents WHERE ino = ${file} AND offset = 5)`,
  )
  const { left } = repair(store, time, true)
  t.true(left.some(line => /overlaps the one before it/.test(line)))
  t.true(left.some(line => /names a block that is missing/.test(line)))
  t.is(store.db.prepare(`SELECT count(*) FROM extents WHERE ino = ${tree.file}`).pluck().get(), 2)
})

test('a sound database is left as it is', t => {
  const { f } = makeTree()
  using store = f.store
  const before = dump(store)
  t.deepEqual(repair(store, time, true), { actions: [], left: [] })
  t.deepEqual(dump(store), before)
})

test('an index that lacks rows is made anew; damaged pages are not touched', t => {
  const tree = makeTree()
  const { db } = tree.f.store
  db.unsafeMode(true)
  db.pragma('writable_schema = ON')
  db.exec(`UPDATE sqlite_master SET sql = replace(sql, 'state = 0 AND have < wanted', 'state = 0 AND have < 0')
           WHERE name = 'blocks_short'`)
  db.pragma('writable_schema = RESET')
  db.exec('REINDEX blocks_short')
  db.pragma('writable_schema = ON')
  db.exec(`UPDATE blocks SET have = 1 WHERE refs = 2`)
  db.exec(`DELETE FROM replicas WHERE node = 2 AND block = (SELECT key FROM blocks WHERE refs = 2)`)
  db.exec(`UPDATE sqlite_master SET sql = replace(sql, 'state = 0 AND have < 0', 'state = 0 AND have < wanted')
           WHERE name = 'blocks_short'`)
  db.pragma('writable_schema = RESET')
  db.unsafeMode(false)
  using store = reopened(tree, '')
  t.true(fsck(store).problems.some(line => /index/.test(line)))
  const { actions, left } = repair(store, time, true)
  t.true(actions.some(action => /make the indexes anew/.test(action)))
  t.deepEqual(left, [])

  const pages = store.db.serialize()
  const root = store.db.prepare("SELECT rootpage FROM sqlite_master WHERE name = 'dirents'").pluck().get()
  pages.fill(0xee, (Number(root) - 1) * 4096, Number(root) * 4096)
  using damaged = openUnchecked(pages)
  t.throws(() => repair(damaged, time, true), { instanceOf: UsageError, message: /restore it from a backup/ })
})

const open = (pages: Buffer): Store => Store.open(new BetterSqlite3(pages), { toRepair: true })

/** Without the check that opening it takes. */
function openUnchecked(pages: Buffer): Store {
  const store = Store.snapshot(new BetterSqlite3(pages))
  store.db.exec('COMMIT')
  return store
}

function reopened(tree: Tree, breaks: Sql): Store {
  const { db } = tree.f.store
  db.exec(sqlOf(breaks, tree))
  const serialized = db.serialize()
  tree.f.store.close()
  return open(serialized)
}

/** Every row of every table but those that only say which ids were issued. */
function dump(store: Store): Record<string, unknown[]> {
  const tables = store.db
    .prepare<[], string>("SELECT name FROM sqlite_master WHERE type = 'table'")
    .pluck()
    .all()
  return Object.fromEntries(
    tables.map(table => [table, store.db.prepare(`SELECT * FROM ${table}`).safeIntegers().raw().all()]),
  )
}
