import type { Database } from 'better-sqlite3'

/** Between two steps the thread can do something else; the copy is of one moment anyway. */
const pagesPerStep = 4096

/**
 * Copies the database, as of its last commit, into a new file. The connection's read transaction holds that moment
 * for the whole copy, so that commits of others neither wait nor make it begin anew; what they write stays in
 * the log until then.
 */
export async function copyDatabase(db: Database, file: string): Promise<void> {
  db.exec('BEGIN')
  db.prepare('SELECT 1 FROM sqlite_master LIMIT 1').get()
  try {
    await db.backup(file, { progress: () => pagesPerStep })
  } finally {
    db.exec('ROLLBACK')
  }
}
