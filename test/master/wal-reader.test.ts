import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import Database from 'better-sqlite3'
import { type ReadWal, WalReader } from '#src/master/log/wal-reader.ts'
import { HostileBytes } from '../support/hostile-bytes.ts'

function folder(t: ExecutionContext): string {
  const made = mkdtempSync(path.join(tmpdir(), 'cairn-wal-'))
  t.teardown(() => rmSync(made, { recursive: true, force: true }))
  return made
}

const reading =
  (file: string): ReadWal =>
  (offset, length) => {
    const fd = openSync(file, 'r')
    try {
      const bytes = Buffer.alloc(length)
      return bytes.subarray(0, readSync(fd, bytes, 0, length, offset))
    } finally {
      closeSync(fd)
    }
  }

/** A database whose log nobody else moves. */
function open(file: string, pageBytes: number): Database.Database {
  const db = new Database(file)
  db.pragma(`page_size = ${pageBytes}`)
  db.pragma('journal_mode = WAL')
  db.pragma('wal_autocheckpoint = 0')
  // So small that transactions write into the log before they end.
  db.pragma('cache_size = 10')
  db.exec('CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, data BLOB)')
  db.pragma('wal_checkpoint(TRUNCATE)')
  return db
}

for (const pageBytes of [512, 4096, 65_536])
  test(`what was read, over a copy from before, is the database: pages of ${pageBytes} bytes`, t => {
    const file = path.join(folder(t), 'a.db')
    const db = open(file, pageBytes)
    const hostile = new HostileBytes(pageBytes)
    const copy = new Map<number, Buffer>()
    const before = readFileSync(file)
    for (let at = 0; at < before.length; at += pageBytes)
      copy.set(at / pageBytes + 1, before.subarray(at, at + pageBytes))
    const reader = new WalReader(reading(`${file}-wal`))
    const insert = db.prepare('INSERT INTO t (data) VALUES (?)')
    let moves = 0
    for (let round = 0; round < 60; round++) {
      const kind = hostile.below(12)
      if (kind < 7)
        db.transaction(() => {
          for (let row = hostile.below(20); row >= 0; row--) insert.run(hostile.bytes(hostile.below(3000)))
        })()
      else if (kind < 9) db.prepare('DELETE FROM t WHERE id % ? = 0').run(2 + hostile.below(5))
      else if (kind < 10) {
        // Taken back, after it had to write pages into the log.
        db.exec('BEGIN')
        for (let row = 0; row < 60; row++) insert.run(hostile.bytes(3000))
        db.exec('ROLLBACK')
      } else if (kind < 11) db.exec('VACUUM')
      if (hostile.below(3) === 0) continue
      const changed = reader.take()
      if (changed !== undefined) {
        t.false(changed.missed)
        t.is(changed.pageBytes, pageBytes)
        for (const { number, data } of changed.pages) copy.set(number, Buffer.from(data))
        for (const number of copy.keys()) if (number > changed.databasePages) copy.delete(number)
      }
      t.is(reader.take(), undefined)
      if (hostile.below(4) === 0) {
        db.pragma('wal_checkpoint(PASSIVE)')
        moves++
        const now = readFileSync(file)
        t.is(copy.size * pageBytes, now.length)
        t.true(Buffer.concat([...copy].sort(([a], [b]) => a - b).map(([, data]) => data)).equals(now))
      }
    }
    t.true(moves > 2)
    db.close()
  })

test('what was moved unseen is told; frames of an older log and torn ones are none', t => {
  const file = path.join(folder(t), 'a.db')
  const db = open(file, 4096)
  const reader = new WalReader(reading(`${file}-wal`))
  const insert = db.prepare('INSERT INTO t (data) VALUES (?)')
  const move = (): void => {
    insert.run(Buffer.alloc(10_000, 1))
    db.pragma('wal_checkpoint(PASSIVE)')
  }
  insert.run(Buffer.alloc(9000, 1))
  t.false(reader.take()?.missed)
  move()
  move()
  move()
  // A short one: behind it in the file lies what was there before.
  insert.run(Buffer.alloc(10, 1))
  const found = reader.take()
  t.true(found?.missed)
  insert.run(Buffer.alloc(10, 1))
  t.false(reader.take()?.missed)

  const wal = readFileSync(`${file}-wal`)
  const hostile = new HostileBytes(1)
  for (let round = 0; round < 500; round++) {
    const bytes = hostile.mutated(wal)
    const other = new WalReader((offset, length) => bytes.subarray(offset, offset + length))
    t.is(other.take(), undefined, 'all that was there when it was made was seen')
  }
  db.close()
})
