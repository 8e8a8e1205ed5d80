import type { Database } from 'better-sqlite3'
import type { BlockKey, Ino } from '../../core/ids.ts'

/** `length` bytes of a file at `offset` are those of the block from `blockOffset` on. */
export interface ExtentRow {
  readonly offset: number
  readonly length: number
  readonly block: BlockKey
  readonly blockOffset: number
}

type Row = readonly [offset: bigint, length: bigint, block: bigint, blockOffset: bigint]

const fromRow = ([offset, length, block, blockOffset]: Row): ExtentRow => ({
  offset: Number(offset),
  length: Number(length),
  block: block as BlockKey,
  blockOffset: Number(blockOffset),
})

const columns = 'offset, length, block, block_offset'

/**
 * The bytes of files: rows of an inode never overlap, and a gap is a hole. Rows inside a range of
 * the doomed table are garbage that is being removed and read as a hole. Rows stay behind an inode
 * that is gone only under a doomed range.
 */
export class Extents {
  static readonly schema = `
    CREATE TABLE extents (
      ino INTEGER NOT NULL,
      offset INTEGER NOT NULL,
      length INTEGER NOT NULL,
      block INTEGER NOT NULL, -- blocks.key
      block_offset INTEGER NOT NULL,
      PRIMARY KEY (ino, offset)
    ) STRICT, WITHOUT ROWID;`

  readonly #before
  readonly #within
  readonly #count
  readonly #from
  readonly #insert
  readonly #resize
  readonly #delete
  readonly #deleteRange

  constructor(db: Database) {
    this.#before = db
      .prepare<[bigint, number], Row>(
        `SELECT ${columns} FROM extents WHERE ino = ? AND offset < ? ORDER BY offset DESC LIMIT 1`,
      )
      .safeIntegers()
      .raw()
    this.#within = db
      .prepare<[bigint, number, number, number], Row>(
        `SELECT ${columns} FROM extents WHERE ino = ? AND offset >= ? AND offset < ? ORDER BY offset LIMIT ?`,
      )
      .safeIntegers()
      .raw()
    this.#count = db.prepare<[bigint], number>('SELECT count(*) FROM extents WHERE ino = ?').pluck()
    this.#from = db
      .prepare<[bigint, number, number], readonly [bigint, ...Row]>(
        `SELECT ino, ${columns} FROM extents WHERE (ino, offset) > (?, ?) ORDER BY ino, offset LIMIT ?`,
      )
      .safeIntegers()
      .raw()
    this.#insert = db.prepare<[bigint, number, number, bigint, number]>(
      `INSERT INTO extents (ino, ${columns}) VALUES (?, ?, ?, ?, ?)`,
    )
    this.#resize = db.prepare<[number, bigint, number]>(
      'UPDATE extents SET length = ? WHERE ino = ? AND offset = ?',
    )
    this.#delete = db.prepare<[bigint, number]>('DELETE FROM extents WHERE ino = ? AND offset = ?')
    this.#deleteRange = db.prepare<[bigint, number, number]>(
      'DELETE FROM extents WHERE ino = ? AND offset >= ? AND offset < ?',
    )
  }

  /** The last row that begins before `offset`. */
  before(ino: Ino, offset: number): ExtentRow | undefined {
    const row = this.#before.get(ino, offset)
    return row === undefined ? undefined : fromRow(row)
  }

  /** Rows that begin in [from, to), in order. */
  within(ino: Ino, from: number, to: number, limit: number): ExtentRow[] {
    return this.#within.all(ino, from, to, limit).map(fromRow)
  }

  /** Rows of an inode, doomed ones included; scans them. */
  count(ino: Ino): number {
    return this.#count.get(ino) ?? 0
  }

  /** Rows of all inodes after a place, in order. */
  after(ino: bigint, offset: number, limit: number): (ExtentRow & { readonly ino: Ino })[] {
    return this.#from.all(ino, offset, limit).map(([of, ...row]) => ({ ino: of as Ino, ...fromRow(row) }))
  }

  add(ino: Ino, row: ExtentRow): void {
    this.#insert.run(ino, row.offset, row.length, row.block, row.blockOffset)
  }

  resize(ino: Ino, offset: number, length: number): void {
    this.#resize.run(length, ino, offset)
  }

  remove(ino: Ino, offset: number): void {
    this.#delete.run(ino, offset)
  }

  /** Removes the rows that begin in [from, to). */
  removeWithin(ino: Ino, from: number, to: number): void {
    this.#deleteRange.run(ino, from, to)
  }
}
