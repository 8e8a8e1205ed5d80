import type { Database } from 'better-sqlite3'
import type { Ino } from '../../core/ids.ts'

/**
 * Files whose wanted number of copies changed and whose blocks have not all been told: they are
 * told in steps, from `next` on.
 */
export class Goals {
  static readonly schema = `
    CREATE TABLE goals (
      ino INTEGER PRIMARY KEY,
      next INTEGER NOT NULL -- offset in the file
    ) STRICT;`

  readonly #first
  readonly #put
  readonly #delete

  constructor(db: Database) {
    this.#first = db
      .prepare<[], { ino: bigint; next: bigint }>('SELECT ino, next FROM goals LIMIT 1')
      .safeIntegers()
    this.#put = db.prepare<[bigint, number]>('INSERT OR REPLACE INTO goals (ino, next) VALUES (?, ?)')
    this.#delete = db.prepare<[bigint]>('DELETE FROM goals WHERE ino = ?')
  }

  first(): { readonly ino: Ino; readonly next: number } | undefined {
    const row = this.#first.get()
    return row === undefined ? undefined : { ino: row.ino as Ino, next: Number(row.next) }
  }

  /** The file's blocks from `next` on are still to be told. */
  pending(ino: Ino, next: number): void {
    this.#put.run(ino, next)
  }

  done(ino: Ino): void {
    this.#delete.run(ino)
  }
}
