/**
 * What is known of a file's extents: pure arithmetic over sorted ranges. `resolved` tells for which
 * ranges the map is complete, so that what is missing there is a hole. All of it may be forgotten and
 * asked for again.
 */
import type { BlockId, Ino } from '../../core/ids.ts'
import type { Location } from '../../wire/gen/cairn/v1/common.ts'
import { IntervalSet, type Range } from '../interval-set.ts'

/** A block as a reader needs to know it. */
export interface BlockRef {
  readonly id: BlockId
  readonly length: number
  readonly ino: Ino
  /** Where it was seen in the file, for asking the master again. */
  at: number
  /** Replaced when the master is asked again. */
  locations: readonly Location[]
  /** The right to read it, and until when, ns. */
  token: Uint8Array
  tokenUntil: bigint
}

export const noToken = new Uint8Array(0)

/** [from, to) of the file are the bytes of `block` from `blockOffset` on. */
export interface MappedExtent extends Range {
  readonly block: BlockRef
  readonly blockOffset: number
}

export class ExtentMap {
  #extents: MappedExtent[] = []
  readonly #resolved = new IntervalSet()

  get size(): number {
    return this.#extents.length
  }

  clear(): void {
    this.#extents = []
    this.#resolved.clear()
  }

  /** Says what [from, to) consists of: the extents within it, in order, and holes between. */
  set(from: number, to: number, extents: readonly MappedExtent[]): void {
    if (from >= to) return
    this.#replace(from, to, extents)
    this.#resolved.add(from, to)
  }

  /** Makes [from, to) unknown. */
  unset(from: number, to: number): void {
    if (from >= to) return
    this.#replace(from, to, [])
    this.#resolved.remove(from, to)
  }

  #replace(from: number, to: number, extents: readonly MappedExtent[]): void {
    const low = this.#firstEndingAfter(from)
    let high = low
    while ((this.#extents[high]?.from ?? to) < to) high++
    const first = this.#extents[low]
    const last = this.#extents[high - 1]
    const parts: MappedExtent[] = []
    if (high > low && first !== undefined && first.from < from) parts.push(clip(first, first.from, from))
    for (const extent of extents) if (extent.from < extent.to) parts.push(extent)
    if (high > low && last !== undefined && last.to > to) parts.push(clip(last, to, last.to))
    this.#extents.splice(low, high - low, ...parts)
  }

  /** The first part of [from, to) that is not known. */
  firstUnknown(from: number, to: number): Range | undefined {
    return this.#resolved.firstGap(from, to)
  }

  /** The extents that overlap [from, to), clipped to it. */
  within(from: number, to: number): MappedExtent[] {
    const found: MappedExtent[] = []
    for (let i = this.#firstEndingAfter(from); i < this.#extents.length; i++) {
      const extent = this.#extents[i]
      if (extent === undefined || extent.from >= to) break
      found.push(clip(extent, Math.max(from, extent.from), Math.min(to, extent.to)))
    }
    return found
  }

  /** The first extent that ends behind `offset`, whole. */
  next(offset: number): MappedExtent | undefined {
    return this.#extents[this.#firstEndingAfter(offset)]
  }

  #firstEndingAfter(offset: number): number {
    let low = 0
    let high = this.#extents.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const extent = this.#extents[middle]
      if (extent !== undefined && extent.to > offset) high = middle
      else low = middle + 1
    }
    return low
  }
}

function clip(extent: MappedExtent, from: number, to: number): MappedExtent {
  if (from === extent.from && to === extent.to) return extent
  return { from, to, block: extent.block, blockOffset: extent.blockOffset + (from - extent.from) }
}
