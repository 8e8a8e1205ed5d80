/**
 * Changes of one file's extents. Invariants, which fsck checks too: live rows do not overlap and
 * end at the file's size at the latest; `allocated` is the sum of all rows' lengths, doomed ones
 * included until they are gone; a block's refs is the number of rows that name it.
 */
import { fileBytesMax } from '../../core/limits.ts'
import type { ExtentRow } from '../store/extents.ts'
import { type Inode, inodeFlag } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'
import { References } from './references.ts'

export const rowEnd = (row: ExtentRow): number => row.offset + row.length

/** The part of a row from `from` on. */
export function rowFrom(row: ExtentRow, from: number): ExtentRow {
  const skipped = from - row.offset
  return {
    offset: from,
    length: row.length - skipped,
    block: row.block,
    blockOffset: row.blockOffset + skipped,
  }
}

/** `next` goes on in the file and in the block where `row` ends. */
export const continues = (row: ExtentRow, next: ExtentRow): boolean =>
  row.block === next.block && rowEnd(row) === next.offset && row.blockOffset + row.length === next.blockOffset

export class ExtentsEdit {
  readonly references = new References()
  readonly #store: Store
  readonly #inode: Inode

  constructor(store: Store, inode: Inode) {
    this.#store = store
    this.#inode = inode
  }

  /**
   * Makes [from, to) a hole. If that concerns more rows than `limit` the range is doomed instead:
   * it reads as a hole, and `stepDoomed` removes its rows (which `allocated` counts until then).
   */
  clear(from: number, to: number, limit = this.#store.rowsPerCommand): void {
    if (from >= to) return
    if (this.#inode.allocated > 0 && !this.#splitAt(from, to)) {
      const rows = this.#store.extents.within(this.#inode.ino, from, to, limit + 1)
      if (rows.length > limit) {
        this.#doom(from, to)
        return
      }
      this.#removeRows(rows, from, to)
    }
    if (this.#isDoomedAnywhere) this.#store.doomed.subtract(this.#inode.ino, from, to)
  }

  /** As `clear`, whatever the number of rows: for ranges that get new extents. */
  clearFully(from: number, to: number): void {
    this.clear(from, to, Number.MAX_SAFE_INTEGER)
  }

  /** Adds a row in a range that was cleared, joined to the rows beside it if it continues them. */
  place(row: ExtentRow): void {
    const joins = this.references.mayContinue(row.block)
    this.#inode.allocated += row.length
    const next = joins
      ? this.#store.extents.within(this.#inode.ino, rowEnd(row), rowEnd(row) + 1, 1)[0]
      : undefined
    let { length } = row
    if (next !== undefined && continues(row, next) && this.#isLive(next)) {
      this.#store.extents.remove(this.#inode.ino, next.offset)
      this.references.change(next.block, -1)
      length += next.length
    }
    const last = joins ? this.#store.extents.before(this.#inode.ino, row.offset) : undefined
    if (last !== undefined && continues(last, row) && this.#isLive(last)) {
      this.#store.extents.resize(this.#inode.ino, last.offset, last.length + length)
    } else {
      this.#store.extents.add(this.#inode.ino, { ...row, length })
      this.references.change(row.block, 1)
    }
  }

  /** Writes the references. The inode is the caller's to save. */
  finish(time: bigint): void {
    this.references.apply(this.#store, this.#inode.copies, time)
  }

  /** Cuts the row that crosses `from`. True if it also covered all of [from, to): nothing is left to do. */
  #splitAt(from: number, to: number): boolean {
    const { extents } = this.#store
    const row = extents.before(this.#inode.ino, from)
    if (row === undefined || rowEnd(row) <= from) return false
    extents.resize(this.#inode.ino, row.offset, from - row.offset)
    const covered = rowEnd(row) > to
    this.#inode.allocated -= Math.min(rowEnd(row), to) - from
    if (covered) this.#addPiece(rowFrom(row, to))
    return covered
  }

  /** Removes the rows that begin in [from, to), keeping what the last one has beyond it. */
  #removeRows(rows: readonly ExtentRow[], from: number, to: number): void {
    const last = rows.at(-1)
    if (last === undefined) return
    this.#store.extents.removeWithin(this.#inode.ino, from, to)
    for (const row of rows) {
      this.references.change(row.block, -1)
      this.#inode.allocated -= row.length
    }
    if (rowEnd(last) <= to) return
    const rest = rowFrom(last, to)
    this.#inode.allocated += rest.length
    this.#addPiece(rest)
  }

  #doom(from: number, to: number): void {
    const { ino } = this.#inode
    const last = this.#store.extents.before(ino, to)
    if (last !== undefined && rowEnd(last) > to) {
      this.#store.extents.resize(ino, last.offset, to - last.offset)
      this.#addPiece(rowFrom(last, to))
    }
    this.#store.doomed.add(ino, from, to)
    this.#inode.flags |= inodeFlag.doomed
  }

  /** A part of a row that was cut: its bytes are counted already. */
  #addPiece(row: ExtentRow): void {
    this.#store.extents.add(this.#inode.ino, row)
    this.references.change(row.block, 1)
  }

  get #isDoomedAnywhere(): boolean {
    return (this.#inode.flags & inodeFlag.doomed) !== 0
  }

  #isLive(row: ExtentRow): boolean {
    return (
      !this.#isDoomedAnywhere ||
      this.#store.doomed.overlapping(this.#inode.ino, row.offset, rowEnd(row)).length === 0
    )
  }
}

/** The live rows that overlap [from, to), in order, at most `limit`; complete up to `end`. */
export function liveRows(
  store: Store,
  inode: Inode,
  from: number,
  to: number,
  limit: number,
): { readonly rows: ExtentRow[]; readonly end: number } {
  const rows: ExtentRow[] = []
  if (inode.allocated === 0 || from >= to) return { rows, end: to }
  const doomed = (inode.flags & inodeFlag.doomed) === 0 ? [] : store.doomed.overlapping(inode.ino, from, to)
  let at = from
  if (doomed[0] === undefined || doomed[0].start > from) {
    const first = store.extents.before(inode.ino, from)
    if (first !== undefined && rowEnd(first) > from) rows.push(first)
  }
  for (const { start, end } of [...doomed, { start: to, end: to }]) {
    rows.push(...store.extents.within(inode.ino, at, start, limit + 1 - rows.length))
    const next = rows[limit]
    if (next !== undefined) return { rows: rows.slice(0, limit), end: next.offset }
    at = end
  }
  return { rows, end: to }
}

/** Sets a file's size: what is beyond a smaller one goes, a larger one ends in a hole. */
export function resizeFile(store: Store, inode: Inode, size: number, time: bigint): void {
  if (size < inode.size) {
    const edit = new ExtentsEdit(store, inode)
    edit.clear(size, fileBytesMax)
    edit.finish(time)
  }
  inode.size = size
}
