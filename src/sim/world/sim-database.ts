import BetterSqlite3, { type Database } from 'better-sqlite3'
import type { Prng } from './prng.ts'

/** As many commits as a planted liar may forget. */
const forgottenMax = 12

/**
 * A database file: what is on the disk between two starts of the process that has it open. Syncs are
 * the lane's matter: what was applied is committed.
 */
export class SimDatabase {
  #bytes: Buffer | undefined
  #open: Database | undefined
  /** Planted bug: commits are answered and not synced, so that a crash takes some of the last. */
  lying: Prng | undefined
  #states: Buffer[] = []

  /** True until something was stored. */
  get isNew(): boolean {
    return this.#bytes === undefined
  }

  /** Opens it for a process that just started. */
  open(): Database {
    this.#open = new BetterSqlite3(this.#bytes ?? ':memory:')
    this.#states = []
    return this.#open
  }

  /** A transaction has ended. */
  committed(): void {
    if (this.lying === undefined || this.#open === undefined) return
    this.#states.push(this.#open.serialize())
    if (this.#states.length > forgottenMax) this.#states.shift()
  }

  /** The process is gone. */
  crash(): void {
    const db = this.#open
    if (db === undefined) return
    this.#open = undefined
    if (!db.open) return
    this.#bytes = this.lying && this.#states.length > 0 ? this.lying.pick(this.#states) : db.serialize()
    db.close()
  }

  /** The process lets go of it, with no transaction open. */
  close(): void {
    const db = this.#open
    if (db === undefined) return
    this.#open = undefined
    this.#bytes = db.serialize()
    db.close()
  }

  /** What is on the disk of a machine that is down. */
  image(): Buffer | undefined {
    return this.#bytes
  }

  /** The disk of a machine that is down is lost: it is new again. */
  wipe(): void {
    this.#bytes = undefined
    this.#states = []
  }

  putBack(image: Buffer): void {
    this.#bytes = image
  }
}
