import type { Database } from 'better-sqlite3'

/** What makes a copy of the database a backup. The copy's format row says the rest. */
export interface BackupStamp {
  /** Wall clock, ns. */
  readonly taken: bigint
  /** Version of the program that took it. */
  readonly program: string
}

/** The table's layout never changes: any version can read it. Only backups have it. */
const schema = `
  CREATE TABLE backup (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    taken INTEGER NOT NULL, -- ns
    program TEXT NOT NULL
  ) STRICT;`

export function isBackup(db: Database): boolean {
  return db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'backup'").get() !== undefined
}

/** Marks a copy. A master does not start on it: only a restore may put it to use. */
export function writeStamp(db: Database, { taken, program }: BackupStamp): void {
  db.transaction(() => {
    db.exec(`DROP TABLE IF EXISTS backup; ${schema}`)
    db.prepare('INSERT INTO backup (one, taken, program) VALUES (1, ?, ?)').run(taken, program)
  })()
}

/** Undefined for a database that is no backup. */
export function readStamp(db: Database): BackupStamp | undefined {
  if (!isBackup(db)) return undefined
  return db.prepare<[], BackupStamp>('SELECT taken, program FROM backup').safeIntegers().get()
}

/** From now on it may be a master's database. */
export function removeStamp(db: Database): void {
  db.exec('DROP TABLE IF EXISTS backup')
}
