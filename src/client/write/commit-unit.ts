/** What one Commit carries: pure functions from sealed ranges to messages and back to extents. */
import type { BlockId, Ino } from '../../core/ids.ts'
import { must } from '../../core/assert.ts'
import { timeToWire } from '../../wire/attr.ts'
import type { Commit } from '../../wire/gen/cairn/v1/session.ts'
import { IntervalSet } from '../interval-set.ts'
import { type BlockRef, type MappedExtent, noToken } from '../read/extent-map.ts'
import type { Batch } from './batch.ts'
import type { SealedRange } from './sealed.ts'

/** The master takes a command whole; this many extents is a few milliseconds of its time. */
export const extentsPerCommit = 1000

/** Batches, or the beginning of one, that are committed together. */
export interface CommitUnit {
  readonly batches: readonly Batch[]
  readonly ranges: readonly SealedRange[]
  readonly time: bigint
  /** A truncation waits for the answer: if nothing was committed, what lies behind this goes. */
  clipTo: number
  /** Offsets count from where the file ends when it is committed. */
  readonly append: boolean
  /** The session that accepted it died: its ranges are dropped, and whatever is answered counts for nothing. */
  abandoned: boolean
}

/** As many settled batches as fit in one commit without overlapping each other, in order. */
export function nextUnit(batches: readonly Batch[]): CommitUnit | undefined {
  const taken: Batch[] = []
  const ranges: SealedRange[] = []
  const covered = new IntervalSet()
  for (const batch of batches) {
    if (!batch.settled || batch.error !== undefined) break
    const fits = ranges.length + batch.ranges.length <= extentsPerCommit
    if (taken.length > 0 && (!fits || batch.ranges.some(range => touches(covered, range)))) break
    taken.push(batch)
    ranges.push(...batch.ranges.slice(0, extentsPerCommit))
    if (!fits) break
    for (const range of batch.ranges) covered.add(range.offset, range.end)
  }
  const last = taken.at(-1)
  if (last === undefined) return undefined
  return {
    batches: taken,
    ranges,
    time: last.time,
    clipTo: Number.POSITIVE_INFINITY,
    append: false,
    abandoned: false,
  }
}

function touches(covered: IntervalSet, { offset, end }: SealedRange): boolean {
  const gap = covered.firstGap(offset, end)
  return offset < end && (gap === undefined || gap.from !== offset || gap.to !== end)
}

/** The message, and which ranges each of its blocks serves. Undefined when a truncation left nothing. */
export function commitOf(
  ino: Ino,
  unit: CommitUnit,
  pages: boolean,
): { readonly commit: Commit; readonly rangesOfBlock: readonly SealedRange[][] } | undefined {
  const visible = unit.ranges.filter(range => range.offset < range.end).sort((a, b) => a.offset - b.offset)
  if (visible.length === 0) return undefined
  const indexes = new Map<string, number>()
  const rangesOfBlock: SealedRange[][] = []
  const blocks: Commit['blocks'] = []
  const extents = visible.map(range => {
    const { id } = must(range.block, 'block of a sealed range')
    let index = indexes.get(id)
    if (index === undefined) {
      indexes.set(id, (index = blocks.length))
      blocks.push(must(range.stored, 'receipts of a sealed range').block)
      rangesOfBlock.push([])
    }
    rangesOfBlock[index]?.push(range)
    return {
      offset: BigInt(range.offset),
      length: BigInt(range.end - range.offset),
      block: index,
      blockOffset: 0,
    }
  })
  const commit: Commit = {
    ino,
    extents,
    blocks,
    // Writes only ever extend a file; where it ends after a truncation is the master's to say.
    size: undefined,
    // As of now: a program may have set it since the unit was made, before this is sent again.
    mtime: timeToWire(unit.batches.findLast(batch => batch.mtime !== undefined)?.mtime),
    atime: undefined,
    killSuidgid: false,
    time: unit.time,
    append: unit.append,
    pages,
  }
  return { commit, rangesOfBlock }
}

/** The tokens of a commit's answer, by block. */
export function tokensOf(
  rangesOfBlock: readonly (readonly SealedRange[])[],
  tokens: readonly Uint8Array[],
): ReadonlyMap<BlockId, Uint8Array> {
  const found = new Map<BlockId, Uint8Array>()
  for (const [index, [range]] of rangesOfBlock.entries()) {
    const token = tokens[index]
    // A view would keep the whole answer.
    if (range?.block !== undefined && token !== undefined) found.set(range.block.id, new Uint8Array(token))
  }
  return found
}

/** What a reader finds where the unit was committed; `base` is where the file ended, for an append. */
export function extentsOf(
  ino: Ino,
  unit: CommitUnit,
  base: number,
  rights: { readonly tokens: ReadonlyMap<BlockId, Uint8Array>; readonly until: bigint },
): MappedExtent[] {
  const blocks = new Map<string, BlockRef>()
  return unit.ranges
    .filter(range => range.offset < range.end)
    .map(range => {
      const { id } = must(range.block, 'block of a sealed range')
      let block = blocks.get(id)
      if (block === undefined) {
        const locations = range.stored?.locations ?? []
        const at = base + range.offset
        const token = rights.tokens.get(id)
        const right = { token: token ?? noToken, tokenUntil: token === undefined ? 0n : rights.until }
        block = { id, length: range.data.length, ino, at, locations, ...right }
        blocks.set(id, block)
      }
      return { from: base + range.offset, to: base + range.end, block, blockOffset: 0 }
    })
}
