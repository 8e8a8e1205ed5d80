import path from 'node:path'
import { messageOf } from '../../core/errors.ts'
import { FsckReply, RestoreStatusReply } from '../../wire/gen/cairn/v1/admin.ts'
import { restoreReport } from '../backup/restore-report.ts'
import { compareWithCopy, copySchema, type Differences } from '../fsck/compare-copy.ts'
import type { Checked } from '../fsck/database-checks.ts'
import { fsck } from '../fsck/fsck.ts'
import { openDatabaseReader } from '../store/open-database.ts'
import { damageOf, Store } from '../store/store.ts'

/** What can be asked of the database of a master at work, by a connection of its own. */
export type Reading = 'fsck' | 'restoreStatus' | 'pages'

export interface ReadingJob {
  readonly database: string
  readonly reading: Reading
}

/** As one that has everything checked that can be. `copies`: files of earlier backups of it, oldest first. */
export interface CheckingJob {
  readonly database: string
  readonly copies: readonly string[]
}

/**
 * All of it sees the one commit that was the last when it began. An encoded FsckReply or RestoreStatusReply; of
 * `pages`: what is damaged, empty if nothing is.
 */
export function readDatabase(database: string, reading: Reading): Uint8Array {
  if (reading === 'pages') {
    const db = openDatabaseReader(database)
    try {
      return Buffer.from(damageOf(db) ?? '')
    } finally {
      db.close()
    }
  }
  using store = Store.snapshot(openDatabaseReader(database))
  return reading === 'fsck'
    ? FsckReply.encode(fsck(store)).finish()
    : RestoreStatusReply.encode(restoreReport(store)).finish()
}

/**
 * Every invariant, and what has not changed since the copies were made: the newest, since which least has changed, and
 * the oldest, which may be from before a bit flipped. One that cannot be read leaves its place to the next.
 */
export function checkDatabase({ database, copies }: CheckingJob): Checked {
  using store = Store.snapshot(openDatabaseReader(database))
  const { problems } = fsck(store)
  const found = new Map<string, Differences>()
  const unreadable = new Map<string, string>()
  for (const order of [[...copies].reverse(), copies])
    for (const file of order) {
      if (found.has(file)) break
      if (unreadable.has(file)) continue
      const compared = compare(database, file)
      if (typeof compared !== 'string') {
        found.set(file, compared)
        break
      }
      unreadable.set(file, `${path.basename(file)}: ${compared}`)
    }
  const all = [...found.values()]
  return {
    problems,
    differences: [...new Set(all.flatMap(({ lines }) => lines))],
    unreadable: [...unreadable.values()],
    blocksDiffer: all.some(({ ofBlocks }) => ofBlocks > 0),
  }
}

/** Or why the copy cannot be read. */
function compare(database: string, copy: string): Differences | string {
  const db = openDatabaseReader(database)
  try {
    // Not within the transaction of a snapshot.
    db.prepare(`ATTACH ? AS ${copySchema}`).run(copy)
    using beside = Store.snapshot(db)
    return compareWithCopy(beside)
  } catch (error) {
    return messageOf(error)
  } finally {
    db.close()
  }
}
