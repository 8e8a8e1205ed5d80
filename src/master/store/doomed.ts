import type { Database } from 'better-sqlite3'
import type { Ino } from '../../core/ids.ts'

export interface DoomedRange {
  readonly ino: Ino
  readonly start: number
  readonly end: number
}

type Row = readonly [ino: bigint, start: bigint, end: bigint]

const fromRow = ([ino, start, end]: Row): DoomedRange => ({
  ino: ino as Ino,
  start: Number(start),
  end: Number(end),
})

/**
 * Ranges of files whose extents are garbage but too many to remove in one command: the range reads
 * as a hole at once, its rows go in later steps. Ranges of an inode do not overlap, and no extents
 * row crosses the border of one. The inode itself may be gone.
 */
export class Doomed {
  static readonly schema = `
    CREATE TABLE doomed (
      ino INTEGER NOT NULL,
      start INTEGER NOT NULL,
      end INTEGER NOT NULL, -- exclusive
      PRIMARY KEY (ino, start)
    ) STRICT, WITHOUT ROWID;`

  readonly #overlapping
  readonly #first
  readonly #insert
  readonly #delete

  constructor(db: Database) {
    this.#overlapping = db
      .prepare<[bigint, number, number], Row>(
        'SELECT ino, start, end FROM doomed WHERE ino = ? AND start < ? AND end > ? ORDER BY start',
      )
      .safeIntegers()
      .raw()
    this.#first = db.prepare<[], Row>('SELECT ino, start, end FROM doomed LIMIT 1').safeIntegers().raw()
    this.#insert = db.prepare<[bigint, number, number]>(
      'INSERT INTO doomed (ino, start, end) VALUES (?, ?, ?)',
    )
    this.#delete = db.prepare<[bigint, number]>('DELETE FROM doomed WHERE ino = ? AND start = ?')
  }

  overlapping(ino: Ino, from: number, to: number): DoomedRange[] {
    return this.#overlapping.all(ino, to, from).map(fromRow)
  }

  /** Some range to work on. */
  first(): DoomedRange | undefined {
    const row = this.#first.get()
    return row === undefined ? undefined : fromRow(row)
  }

  /** Dooms a range, taking in what was doomed of it already. */
  add(ino: Ino, from: number, to: number): void {
    let [start, end] = [from, to]
    for (const range of this.overlapping(ino, from, to)) {
      start = Math.min(start, range.start)
      end = Math.max(end, range.end)
      this.#delete.run(ino, range.start)
    }
    this.#insert.run(ino, start, end)
  }

  /** The rows of [from, to) are gone, or replaced by live ones: it is not doomed any more. */
  subtract(ino: Ino, from: number, to: number): void {
    for (const range of this.overlapping(ino, from, to)) {
      this.#delete.run(ino, range.start)
      if (range.start < from) this.#insert.run(ino, range.start, from)
      if (range.end > to) this.#insert.run(ino, to, range.end)
    }
  }
}
