import BetterSqlite3, { type Database } from 'better-sqlite3'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { S_IFDIR, S_IFLNK, S_IFREG } from '#src/core/attr.ts'
import { stampDatabase } from '#src/master/backup/take-backup.ts'
import { checkDatabase } from '#src/master/rpc/check-database.ts'
import { Store } from '#src/master/store/store.ts'
import { Prng } from '#src/sim/world/prng.ts'
import { bytes, Fixture } from './store-fixture.ts'

const day = 86_400_000_000_000n
const flips = 250

/** What no flip may change unnoticed: all that users see but times of access and of change, and where their data are. */
const precious = [
  'SELECT ino, mode, nlink, uid, gid, rdev, size, allocated, mtime, btime, parent FROM inodes ORDER BY ino',
  'SELECT parent, name, ino, type FROM dirents ORDER BY parent, name',
  'SELECT ino, target FROM symlinks ORDER BY ino',
  'SELECT ino, name, value FROM xattrs ORDER BY ino, name',
  'SELECT ino, offset, length, block, block_offset FROM extents ORDER BY ino, offset',
  'SELECT key, id, domain, length, refs, state FROM blocks ORDER BY key',
]

function preciousOf(db: Database): string {
  const rows = precious.map(sql => db.prepare(sql).safeIntegers().all())
  return JSON.stringify(rows, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))
}

/** What became of a database that somebody flipped a bit in. */
function outcomeOf(file: string, copy: string): 'refused' | 'found' | 'unnoticed' {
  try {
    Store.open(new BetterSqlite3(file)).close()
  } catch {
    return 'refused'
  }
  try {
    const { problems, differences, unreadable } = checkDatabase({ database: file, copies: [copy] })
    return problems.length + differences.length + unreadable.length > 0 ? 'found' : 'unnoticed'
  } catch {
    return 'found'
  }
}

test('a bit that flips anywhere in the database is noticed, or changes nothing that matters', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'cairn-flips-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  using f = new Fixture()
  for (let d = 0; d < 5; d++) {
    const dir = f.create(1n, `directory ${d}`, S_IFDIR | 0o755).attr.ino
    for (let n = 0; n < 20; n++) {
      const file = f.create(dir, `file ${n}`, S_IFREG | 0o644).attr.ino
      f.commit(file, [{ offset: 0, length: 6, content: `${d}-${n}`.padEnd(6, '.') }])
      f.run(f.setXattrOp(file, 'user.note', Buffer.from(`note ${n}`)))
    }
    f.create(dir, 'link', S_IFLNK | 0o777, { target: bytes(`../somewhere else ${d}`) })
  }
  const [copy, good, file] = ['copy.db', 'good.db', 'master.db'].map(name => join(folder, name)) as [
    string,
    string,
    string,
  ]
  await f.store.db.backup(copy)
  stampDatabase(copy, { taken: f.time + day, program: 'test' })
  await f.store.db.backup(good)
  // As a master leaves it.
  Store.open(new BetterSqlite3(good)).close()
  const image = readFileSync(good)
  const before = preciousOf(new BetterSqlite3(good, { readonly: true }))
  // Where there is something.
  const places = [...image.keys()].filter(at => image[at] !== 0)
  const prng = new Prng(17)
  const outcomes = { refused: 0, found: 0, unnoticed: 0 }
  const harmful: string[] = []
  for (let n = 0; n < flips; n++) {
    const [at, bit] = [prng.pick(places), 1 << prng.below(8)]
    for (const rest of ['-wal', '-shm', '-journal']) rmSync(`${file}${rest}`, { force: true })
    copyFileSync(good, file)
    const flipped = Buffer.from(image)
    flipped[at] = (flipped[at] ?? 0) ^ bit
    writeFileSync(file, flipped)
    const outcome = outcomeOf(file, copy)
    outcomes[outcome] += 1
    if (outcome !== 'unnoticed') continue
    const db = new BetterSqlite3(file, { readonly: true })
    if (preciousOf(db) !== before) harmful.push(`bit ${bit} at ${at}`)
    db.close()
  }
  t.log(JSON.stringify(outcomes))
  t.deepEqual(harmful, [])
  t.true(outcomes.refused > 0 && outcomes.found > 0)
})
