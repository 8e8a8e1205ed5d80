import BetterSqlite3, { type Database } from 'better-sqlite3'

/**
 * A database file: what is on the disk between two starts of the process that has it open. Syncs are
 * the lane's matter: what was applied is committed.
 */
export class SimDatabase {
  #bytes: Buffer | undefined
  #open: Database | undefined

  /** True until something was stored. */
  get isNew(): boolean {
    return this.#bytes === undefined
  }

  /** Opens it for a process that just started. */
  open(): Database {
    this.#open = new BetterSqlite3(this.#bytes ?? ':memory:')
    return this.#open
  }

  /** The process is gone. */
  crash(): void {
    const db = this.#open
    if (db === undefined) return
    this.#open = undefined
    if (!db.open) return
    this.#bytes = db.serialize()
    db.close()
  }
}
