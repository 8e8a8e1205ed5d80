/**
 * A run of bytes of a file that were accepted by a write and are held in memory: one range of one
 * chunk, without holes, within one window (an aligned range of the block size).
 *
 *     start      cleanTo            end          capacityEnd
 *       |  clean    |     dirty      |    room      |
 *
 * Clean bytes are part of a sealed block that is stored or on its way; they are kept only so that what
 * is appended can be sealed together with them. Bytes before `frozenTo` are read by somebody else (the
 * put of a sealed block) and never changed in place.
 */
import type { Chunk } from './chunk-pool.ts'

export interface Segment {
  start: number
  end: number
  /** File offset of the chunk's first byte. */
  base: number
  chunk: Chunk
  /** In-place growth ends here: the chunk's end, the window's end, or another segment of the same chunk. */
  capacityEnd: number
  /** Whether a larger chunk may replace this one when it is full. */
  growable: boolean
  cleanTo: number
  frozenTo: number
}

export function bytesOf(segment: Segment, from: number, to: number): Buffer {
  return segment.chunk.bytes.subarray(from - segment.base, to - segment.base)
}

export const dirtyIn = (segment: Segment): number => segment.end - Math.max(segment.start, segment.cleanTo)

/** What is left of a segment from `from` on, as one of its own that shares the chunk and may go on growing in it. */
export function tailOf(segment: Segment, from: number): Segment {
  return {
    ...segment,
    start: from,
    chunk: segment.chunk.retain(),
    cleanTo: Math.max(segment.cleanTo, from),
    frozenTo: Math.max(segment.frozenTo, from),
  }
}
