import { FsckReply, RestoreStatusReply } from '../../wire/gen/cairn/v1/admin.ts'
import { restoreReport } from '../backup/restore-report.ts'
import { fsck } from '../fsck/fsck.ts'
import { openDatabaseReader } from '../store/open-database.ts'
import { damageOf, Store } from '../store/store.ts'

/** What can be asked of the database of a master at work, by a connection of its own. */
export type Reading = 'fsck' | 'restoreStatus' | 'pages'

export interface ReadingJob {
  readonly database: string
  readonly reading: Reading
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
