import type { Value } from '../history/file-model.ts'

/** Bytes of a cell: so that no cell lies in two pages, of which others may see one old and one new. */
export const cellSizes = [1024, 4096] as const

/** What a write puts into each of its cells. */
export function cellsOf(value: Value, count: number, cellBytes: number): Buffer {
  const word = Buffer.alloc(4)
  word.writeUInt32LE(value)
  return Buffer.alloc(count * cellBytes, word)
}

/** What is in a cell; undefined if it is of several writes. */
export function valueOf(cell: Buffer): Value | undefined {
  const value = cell.readUInt32LE(0)
  return cell.equals(cellsOf(value, 1, cell.length)) ? value : undefined
}
