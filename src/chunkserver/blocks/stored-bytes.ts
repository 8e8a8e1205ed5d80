import { KiB } from '../../core/units.ts'

/** Blocks of at most this much are rows: no file of their own, one sync for many. One checksum covers them. */
export const rowBytesMax = 64 * KiB

/** Whether a block of this length is kept in a row. */
export const isSmall = (length: number): boolean => length <= rowBytesMax

const filePage = 4 * KiB
/** What a row needs beside its data: two ids, a checksum, a change. */
const rowOverhead = 200

/** What a block takes on disk, for capacity and statistics. */
export function storedBytes(length: number): number {
  return length <= rowBytesMax ? length + rowOverhead : Math.ceil(length / filePage) * filePage
}
