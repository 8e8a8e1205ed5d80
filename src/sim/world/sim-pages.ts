import type { Database } from 'better-sqlite3'
import type { ChangedPages, PageSource } from '../../master/log/changed-pages.ts'

/** What changed in a database in memory, which has no log of its own: found by comparing. */
export class SimPages implements PageSource {
  readonly #db: Database
  readonly #pageBytes: number
  #seen: Buffer

  constructor(db: Database) {
    this.#db = db
    this.#pageBytes = Number(db.pragma('page_size', { simple: true }))
    this.#seen = db.serialize()
  }

  take(): ChangedPages | undefined {
    const now = this.#db.serialize()
    const pages: { number: number; data: Uint8Array }[] = []
    for (let at = 0; at < now.length; at += this.#pageBytes) {
      const data = now.subarray(at, at + this.#pageBytes)
      const before = this.#seen.subarray(at, at + this.#pageBytes)
      if (!data.equals(before)) pages.push({ number: at / this.#pageBytes + 1, data })
    }
    const changed = pages.length > 0 || now.length !== this.#seen.length
    this.#seen = now
    if (!changed) return undefined
    const databasePages = now.length / this.#pageBytes
    return { pageBytes: this.#pageBytes, databasePages, missed: false, pages }
  }
}
