import type { FsError } from '../../core/errors.ts'
import { deferred, type Deferred } from '../waiting.ts'
import type { SealedRange } from './sealed.ts'

/** What was sealed of a file at one moment, and is committed in order with what was sealed before and after. */
export interface Batch {
  /** In order of offset; those that are committed are removed. */
  ranges: SealedRange[]
  /** Of the last write in it: the file's mtime, unless a program has set it since. */
  mtime: bigint | undefined
  readonly time: bigint
  /** All blocks are stored, or one could not be (`error`). */
  settled: boolean
  error: FsError | undefined
  /** Nobody needs its blocks any more. */
  cancelled: boolean
  /** Somebody waits for it and will hear of an error. */
  awaited: boolean
  readonly done: Deferred<undefined>
}

export function newBatch(ranges: SealedRange[], mtime: bigint | undefined, time: bigint): Batch {
  const done = deferred<undefined>()
  // Where nobody waits, the error is kept by the file.
  done.promise.catch(() => undefined)
  return {
    ranges,
    mtime,
    time,
    settled: false,
    error: undefined,
    cancelled: false,
    awaited: false,
    done,
  }
}

/** Bytes that count as dirty in what is left of a range. */
export const dirtyOf = (range: SealedRange): number => Math.max(0, range.end - range.dirtyFrom)

export const dirtyOfAll = (ranges: readonly SealedRange[]): number =>
  ranges.reduce((sum, range) => sum + dirtyOf(range), 0)

/** The dirty parts of ranges from `size` on, the last range first, each to be released. */
export function dirtyPartsFrom(ranges: readonly SealedRange[], size: number): SealedRange[] {
  const parts: SealedRange[] = []
  for (const { offset, end, dirtyFrom, data, chunk } of [...ranges].reverse()) {
    const from = Math.max(dirtyFrom, size)
    if (from >= end) continue
    const bytes = data.subarray(from - offset, end - offset)
    parts.push({ offset: from, end, dirtyFrom: from, data: bytes, chunk: chunk.retain() })
  }
  return parts
}

/** Shortens ranges to what lies before `size`; returns how many dirty bytes that took away. */
export function clipRanges(ranges: readonly SealedRange[], size: number): number {
  let taken = 0
  for (const range of ranges) {
    if (range.end <= size) continue
    taken += dirtyOf(range)
    range.end = Math.max(range.offset, size)
    taken -= dirtyOf(range)
  }
  return taken
}
