import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import Database from 'better-sqlite3'
import { createChecksums } from '#src/core/checksum.ts'
import { UsageError } from '#src/core/errors.ts'
import { lostCommits } from '#src/master/log/wal-damage.ts'
import { type ReadWal, WalReader } from '#src/master/log/wal-reader.ts'
import { openEngine } from '#src/master/rpc/open-engine.ts'
import { Store } from '#src/master/store/store.ts'
import { HostileBytes } from '../support/hostile-bytes.ts'

const pageBytes = 4096
const frameBytes = pageBytes + 24
const commits = 40

const of =
  (wal: Uint8Array): ReadWal =>
  (offset, length) =>
    wal.subarray(offset, offset + length)

interface Killed {
  readonly folder: string
  readonly wal: Buffer
  /** Where the frames of each transaction begin in the log, and where the last one's end. */
  readonly begins: readonly number[]
  /** Rows that SQLite finds with this log. */
  readonly rowsWith: (wal: Uint8Array) => number
}

/** The files of a process that was killed: a row for each commit. With `anew` the log has older frames behind the last. */
function kill(t: ExecutionContext, anew = false): Killed {
  const folder = mkdtempSync(path.join(tmpdir(), 'cairn-wal-damage-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const file = path.join(folder, 'a.db')
  const db = new Database(file)
  t.teardown(() => db.close())
  db.pragma('journal_mode = WAL')
  db.pragma('wal_autocheckpoint = 0')
  db.pragma('cache_size = 10')
  db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB)')
  const insert = db.prepare('INSERT INTO t (data) VALUES (zeroblob(?))')
  if (anew) {
    for (let n = 0; n < 200; n++) insert.run(9000)
    db.exec('DELETE FROM t')
    db.pragma('wal_checkpoint(RESTART)')
  } else db.pragma('wal_checkpoint(TRUNCATE)')
  const walOf = (): Buffer => readFileSync(`${file}-wal`)
  const reader = new WalReader((offset, length) => of(walOf())(offset, length))
  const begins: number[] = [32]
  for (let n = 0; n < commits; n++) {
    insert.run(5000)
    // Taken back, after it had to write pages into the log.
    if (n % 10 === 3) {
      db.exec('BEGIN')
      for (let more = 0; more < 30; more++) insert.run(5000)
      db.exec('ROLLBACK')
    }
    reader.take()
    begins.push(32 + reader.frames * frameBytes)
  }
  const wal = walOf()
  const before = readFileSync(file)
  return {
    folder,
    wal,
    begins,
    rowsWith: changed => {
      const copy = path.join(folder, 'copy.db')
      rmSync(`${copy}-shm`, { force: true })
      writeFileSync(copy, before)
      writeFileSync(`${copy}-wal`, changed)
      const opened = new Database(copy)
      try {
        return Number(opened.prepare('SELECT count(*) FROM t').pluck().get())
      } finally {
        opened.close()
      }
    },
  }
}

test('a log that a kill has left whole, torn or begun anew has lost nothing that was committed', t => {
  for (const anew of [false, true]) {
    const { wal, begins } = kill(t, anew)
    t.is(lostCommits(of(wal)), 0)
    const [last = 0, end = 0] = begins.slice(-2)
    const hostile = new HostileBytes(7)
    for (let n = 0; n < 200; n++) {
      const torn = Buffer.from(wal)
      for (let at = last; at < end; at += 512)
        if (hostile.below(2) === 0)
          torn.set(hostile.below(2) === 0 ? Buffer.alloc(512) : hostile.bytes(512), at)
      t.is(lostCommits(of(torn.subarray(0, end))), 0)
      t.is(lostCommits(of(torn.subarray(0, last + hostile.below(end - last)))), 0)
    }
  }
  t.is(lostCommits(of(Buffer.alloc(0))), 0)
})

test('a bit that flips among what was committed is noticed, where SQLite goes on without a word', t => {
  for (const anew of [false, true]) {
    const { wal, begins } = kill(t, anew)
    const hostile = new HostileBytes(11)
    // That the last two transactions are torn cannot be told from a power cut.
    const end = begins.at(-3) ?? 0
    for (let n = 0; n < 200; n++) {
      const flipped = Buffer.from(wal)
      const at = 32 + hostile.below(end - 32)
      flipped[at] = (flipped[at] ?? 0) ^ (1 << hostile.below(8))
      const after = begins.filter(begin => begin > at).length
      t.true(
        lostCommits(of(flipped)) >= Math.max(1, after - 3),
        `${at}: ${lostCommits(of(flipped))} of ${after}`,
      )
    }
  }
})

test('SQLite loses what is behind a flipped bit', t => {
  const { wal, begins, rowsWith } = kill(t)
  t.is(rowsWith(wal), commits)
  const flipped = Buffer.from(wal)
  const at = (begins[5] ?? 0) + 1000
  flipped[at] = (flipped[at] ?? 0) ^ 4
  t.is(rowsWith(flipped), 5)
  t.true(lostCommits(of(flipped)) > 30)
})

test('a master does not start without what it had committed', async t => {
  const folder = mkdtempSync(path.join(tmpdir(), 'cairn-wal-damage-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const [file, killed] = [path.join(folder, 'live.db'), path.join(folder, 'master.db')]
  const format = { cluster: Buffer.alloc(16, 7), blockBytes: 65536, copies: 1, minCopies: 1, created: 1n }
  using store = Store.format(new Database(file), format)
  for (let n = 0; n < 10; n++) store.transaction(() => store.format.beginIncarnation())
  copyFileSync(file, killed)
  const wal = readFileSync(`${file}-wal`)
  const checksums = await createChecksums()
  const start = () =>
    openEngine(
      { database: killed, format, program: 'test', settings: {}, restoreWith: 'cairn restore F' },
      checksums,
      {
        leftWal: left => of(readFileSync(left)),
      },
    )
  const flipped = Buffer.from(wal)
  flipped[100] = (flipped[100] ?? 0) ^ 1
  writeFileSync(`${killed}-wal`, flipped)
  const error = t.throws(start, { instanceOf: UsageError })
  t.regex(
    error.message,
    /^The master database is damaged \(its write-ahead log: .*restore it with cairn restore F$/,
  )
  writeFileSync(`${killed}-wal`, wal)
  const handler = start()
  handler.close()
  using again = Store.open(new Database(killed))
  t.is(again.format.incarnation, store.format.incarnation)
})
