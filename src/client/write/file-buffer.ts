/**
 * The bytes of one file that writes have left in memory: dirty ones, and the clean tail that what is
 * appended will be sealed with. Nothing here is known to the cluster before it is sealed; a crash loses
 * what is dirty, as it does in a local file system's page cache.
 *
 * Bytes lie in segments (see segment.ts), sorted within windows of the block size. Later writes replace
 * earlier ones: segments never overlap.
 */
import type { Range } from '../interval-set.ts'
import type { Chunk, ChunkPool } from './chunk-pool.ts'
import type { SealedRange } from './sealed.ts'
import { bytesOf, dirtyIn, type Segment, tailOf } from './segment.ts'

/** A segment that grows past this part of a window gets a full-size chunk, so that growing copies little. */
const fullSizeShare = 16
/** A single write of this part of a window starts with a full-size chunk. */
const largeWriteShare = 4

export class FileBuffer {
  readonly #pool: ChunkPool
  readonly #windowBytes: number
  readonly #windows = new Map<number, Segment[]>()
  #dirtyBytes = 0
  #dirtyEnd: number | undefined = 0
  #completed: number[] = []

  constructor(pool: ChunkPool) {
    this.#pool = pool
    this.#windowBytes = pool.fullBytes
  }

  get dirtyBytes(): number {
    return this.#dirtyBytes
  }

  get isEmpty(): boolean {
    return this.#windows.size === 0
  }

  /** Where the last dirty byte ends; 0 when nothing is dirty. */
  get dirtyEnd(): number {
    if (this.#dirtyBytes === 0) return 0
    this.#dirtyEnd ??= this.#findDirtyEnd()
    return this.#dirtyEnd
  }

  /**
   * Copies `data` in; returns how many bytes became dirty that were not. `eager` says that the rest of
   * the window is likely to follow.
   */
  write(offset: number, data: Uint8Array, eager: boolean): number {
    const before = this.#dirtyBytes
    for (let done = 0; done < data.length; ) {
      const at = offset + done
      const index = Math.floor(at / this.#windowBytes)
      const size = Math.min(data.length - done, (index + 1) * this.#windowBytes - at)
      const part = size === data.length ? data : data.subarray(done, done + size)
      this.#writeWithin(index, at, part, eager)
      done += size
    }
    if (this.#dirtyEnd !== undefined) this.#dirtyEnd = Math.max(this.#dirtyEnd, offset + data.length)
    return this.#dirtyBytes - before
  }

  /** Windows that writes have completed since this was last asked. */
  takeCompleted(): readonly number[] {
    if (this.#completed.length === 0) return this.#completed
    const completed = this.#completed
    this.#completed = []
    return completed
  }

  /**
   * Makes blocks of everything dirty (of one window, if named). Of what is clean afterwards, only the
   * run that ends at `tailEnd` in an incomplete window stays in memory.
   */
  seal(tailEnd: number, window?: number): SealedRange[] {
    const sealed: SealedRange[] = []
    const indexes = window === undefined ? [...this.#windows.keys()].sort((a, b) => a - b) : [window]
    for (const index of indexes) {
      const segments = this.#windows.get(index)
      if (segments === undefined) continue
      this.#setWindow(index, this.#sealWindow(index, segments, tailEnd, sealed))
    }
    this.#dirtyEnd = undefined
    return sealed
  }

  /** Puts sealed bytes that could not be stored back, below what was written since. */
  restore(range: SealedRange): void {
    for (let at = range.dirtyFrom; at < range.end; ) {
      const index = Math.floor(at / this.#windowBytes)
      const to = Math.min(range.end, (index + 1) * this.#windowBytes)
      this.#restoreWithin(index, at, to, range)
      at = to
    }
    this.#dirtyEnd = undefined
  }

  /** The dirty bytes from `size` on, each to be released, and to be put back with `restore` if they are needed again. */
  dirtyFrom(size: number): SealedRange[] {
    const found: SealedRange[] = []
    for (const segments of this.#windows.values())
      for (const segment of segments) {
        const from = Math.max(segment.start, segment.cleanTo, size)
        if (from >= segment.end) continue
        const { chunk, end } = segment
        found.push({
          offset: from,
          end,
          dirtyFrom: from,
          data: bytesOf(segment, from, end),
          chunk: chunk.retain(),
        })
      }
    return found
  }

  /** Forgets bytes from `size` on. */
  discardFrom(size: number): void {
    for (const [index, segments] of this.#windows) {
      const end = (index + 1) * this.#windowBytes
      if (end <= size) continue
      this.#cut(segments, Math.max(size, index * this.#windowBytes), end)
      this.#setWindow(index, segments)
    }
    this.#dirtyEnd = undefined
  }

  /** Frees the clean bytes that were kept for appends. */
  dropClean(): void {
    for (const [index, segments] of this.#windows) {
      const kept = segments.filter(segment => {
        segment.start = Math.max(segment.start, segment.cleanTo)
        if (segment.start < segment.end) return true
        segment.chunk.release()
        return false
      })
      this.#setWindow(index, kept)
    }
  }

  /** Calls back with what is held of [from, to), in order. The bytes may change later: copy them. */
  overlay(from: number, to: number, visit: (from: number, to: number, bytes: Buffer) => void): void {
    if (this.#windows.size === 0) return
    const last = Math.floor((to - 1) / this.#windowBytes)
    for (let index = Math.floor(from / this.#windowBytes); index <= last; index++) {
      const segments = this.#windows.get(index)
      if (segments === undefined) continue
      for (let i = firstEndingAfter(segments, from); i < segments.length; i++) {
        const segment = segments[i]
        if (segment === undefined || segment.start >= to) break
        const start = Math.max(from, segment.start)
        const end = Math.min(to, segment.end)
        visit(start, end, bytesOf(segment, start, end))
      }
    }
  }

  /** Dirty ranges in order of offset, neighbours not joined. */
  *dirtyRanges(): Generator<Range> {
    for (const index of [...this.#windows.keys()].sort((a, b) => a - b))
      for (const segment of this.#windows.get(index) ?? [])
        if (dirtyIn(segment) > 0) yield { from: Math.max(segment.start, segment.cleanTo), to: segment.end }
  }

  #setWindow(index: number, segments: Segment[]): void {
    if (segments.length === 0) this.#windows.delete(index)
    else this.#windows.set(index, segments)
  }

  #findDirtyEnd(): number {
    let end = 0
    for (const segments of this.#windows.values())
      for (const segment of segments) if (dirtyIn(segment) > 0) end = Math.max(end, segment.end)
    return end
  }

  #writeWithin(index: number, offset: number, data: Uint8Array, eager: boolean): void {
    let segments = this.#windows.get(index)
    if (segments === undefined) this.#windows.set(index, (segments = []))
    if (!this.#writeInPlace(segments, index, offset, data)) {
      this.#cut(segments, offset, offset + data.length)
      this.#insert(segments, index, offset, data, eager)
    }
    if (isRun(segments, index * this.#windowBytes, (index + 1) * this.#windowBytes))
      this.#completed.push(index)
  }

  /** Overwrites or extends one segment, if the bytes there are nobody else's. */
  #writeInPlace(segments: Segment[], index: number, offset: number, data: Uint8Array): boolean {
    const end = offset + data.length
    const i = firstEndingAfter(segments, offset - 1)
    const segment = segments[i]
    if (segment === undefined || offset < segment.start) return false
    if (offset < segment.cleanTo || offset < segment.frozenTo) return false
    if ((segments[i + 1]?.start ?? end) < end || !this.#makeRoom(segment, index, end)) return false
    segment.chunk.bytes.set(data, offset - segment.base)
    this.#dirtyBytes += Math.max(0, end - segment.end)
    segment.end = Math.max(segment.end, end)
    return true
  }

  #makeRoom(segment: Segment, index: number, end: number): boolean {
    if (end <= segment.capacityEnd) return true
    const windowEnd = (index + 1) * this.#windowBytes
    if (!segment.growable || segment.capacityEnd === windowEnd) return false
    const wanted = (end - segment.start) * 2
    const full = wanted > this.#windowBytes / fullSizeShare
    const base = full ? index * this.#windowBytes : segment.start
    const chunk = this.#pool.take(full ? this.#windowBytes : wanted)
    chunk.bytes.set(bytesOf(segment, segment.start, segment.end), segment.start - base)
    segment.chunk.release()
    segment.chunk = chunk
    segment.base = base
    segment.capacityEnd = Math.min(windowEnd, base + chunk.bytes.length)
    return true
  }

  #insert(segments: Segment[], index: number, offset: number, data: Uint8Array, eager: boolean): void {
    const full = eager || data.length >= this.#windowBytes / largeWriteShare
    const chunk = this.#pool.take(full ? this.#windowBytes : data.length)
    const base = full ? index * this.#windowBytes : offset
    chunk.bytes.set(data, offset - base)
    this.#dirtyBytes += data.length
    segments.splice(firstEndingAfter(segments, offset), 0, {
      start: offset,
      end: offset + data.length,
      base,
      chunk,
      capacityEnd: Math.min((index + 1) * this.#windowBytes, base + chunk.bytes.length),
      growable: true,
      cleanTo: offset,
      frozenTo: offset,
    })
  }

  /** Removes [from, to) from the segments of a window. */
  #cut(segments: Segment[], from: number, to: number): void {
    for (let i = firstEndingAfter(segments, from); i < segments.length; ) {
      const segment = segments[i]
      if (segment === undefined || segment.start >= to) return
      this.#dirtyBytes -= dirtyIn(segment)
      const parts: Segment[] = []
      const right = segment.end > to ? tailOf(segment, to) : undefined
      if (segment.start < from) {
        segment.end = from
        segment.capacityEnd = from
        segment.growable = false
        segment.cleanTo = Math.min(segment.cleanTo, from)
        segment.frozenTo = Math.min(segment.frozenTo, from)
        parts.push(segment)
      } else segment.chunk.release()
      if (right !== undefined) parts.push(right)
      for (const part of parts) this.#dirtyBytes += dirtyIn(part)
      segments.splice(i, 1, ...parts)
      i += parts.length
    }
  }

  #restoreWithin(index: number, from: number, to: number, range: SealedRange): void {
    const segments = this.#windows.get(index) ?? []
    const gaps: Range[] = []
    let at = from
    for (const segment of segments) {
      if (segment.end <= at) continue
      if (segment.start >= to) break
      if (segment.start > at) gaps.push({ from: at, to: segment.start })
      at = segment.end
    }
    if (at < to) gaps.push({ from: at, to })
    const { data, chunk } = range
    // The block may begin in the middle of its chunk.
    const base = range.offset - (data.byteOffset - chunk.bytes.byteOffset)
    for (const gap of gaps) {
      this.#dirtyBytes += gap.to - gap.from
      segments.splice(firstEndingAfter(segments, gap.from), 0, {
        start: gap.from,
        end: gap.to,
        base,
        chunk: chunk.retain(),
        capacityEnd: gap.to,
        growable: false,
        cleanTo: gap.from,
        // A transport may still hold these bytes.
        frozenTo: gap.to,
      })
    }
    this.#setWindow(index, segments)
  }

  /** Seals what is dirty; returns the segments that stay. */
  #sealWindow(index: number, segments: Segment[], tailEnd: number, sealed: SealedRange[]): Segment[] {
    const kept: Segment[] = []
    for (const run of runsOf(segments)) {
      const start = run[0]?.start ?? 0
      const end = run.at(-1)?.end ?? 0
      const complete = start === index * this.#windowBytes && end === start + this.#windowBytes
      for (const range of rangesToSeal(run, complete)) sealed.push(this.#sealRange(run, range))
      const keep = !complete && end === tailEnd
      for (const segment of run) {
        this.#dirtyBytes -= dirtyIn(segment)
        segment.cleanTo = segment.end
        segment.frozenTo = segment.end
        if (keep) kept.push(segment)
        else segment.chunk.release()
      }
    }
    return kept
  }

  #sealRange(run: readonly Segment[], { from, to, dirtyFrom }: SealPlan): SealedRange {
    const parts = run.filter(segment => segment.start < to && segment.end > from)
    const [only] = parts
    let chunk: Chunk
    let data: Buffer
    if (only !== undefined && parts.length === 1) {
      chunk = only.chunk.retain()
      data = bytesOf(only, from, to)
    } else {
      chunk = this.#pool.take(to - from)
      data = chunk.bytes.subarray(0, to - from)
      for (const part of parts) {
        const start = Math.max(from, part.start)
        data.set(bytesOf(part, start, Math.min(to, part.end)), start - from)
      }
    }
    return { offset: from, end: to, dirtyFrom, data, chunk }
  }
}

interface SealPlan extends Range {
  readonly dirtyFrom: number
}

/**
 * Which blocks to make of a run of known bytes. A complete window becomes one block, so that equal files
 * share blocks however they were written. Otherwise each dirty range becomes one, with the clean bytes
 * before it if these are no more: so appends between syncs merge, and cost at most twice their bytes.
 */
export function rangesToSeal(
  run: readonly Pick<Segment, 'start' | 'end' | 'cleanTo'>[],
  complete: boolean,
): SealPlan[] {
  const plans: SealPlan[] = []
  let lower = run[0]?.start ?? 0
  let current: { from: number; to: number; dirtyFrom: number } | undefined
  for (const segment of run) {
    const dirtyFrom = Math.max(segment.start, segment.cleanTo)
    if (dirtyFrom === segment.end) continue
    if (current?.to === dirtyFrom) {
      current.to = segment.end
      continue
    }
    lower = current?.to ?? lower
    plans.push((current = { from: lower, to: segment.end, dirtyFrom }))
  }
  if (complete) {
    const [first] = plans
    const end = run.at(-1)?.end ?? 0
    return first === undefined ? [] : [{ from: run[0]?.start ?? 0, to: end, dirtyFrom: first.dirtyFrom }]
  }
  return plans.map(plan =>
    plan.dirtyFrom - plan.from <= plan.to - plan.dirtyFrom ? plan : { ...plan, from: plan.dirtyFrom },
  )
}

/** Index of the first segment that ends after `offset`. */
function firstEndingAfter(segments: readonly Segment[], offset: number): number {
  let low = 0
  let high = segments.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const segment = segments[middle]
    if (segment !== undefined && segment.end > offset) high = middle
    else low = middle + 1
  }
  return low
}

/** Whether the segments tile [from, to). */
function isRun(segments: readonly Segment[], from: number, to: number): boolean {
  if (segments[0]?.start !== from || segments.at(-1)?.end !== to) return false
  let at = from
  for (const segment of segments) {
    if (segment.start !== at) return false
    at = segment.end
  }
  return true
}

/** Segments grouped where one ends at the next one's start. */
function runsOf(segments: readonly Segment[]): Segment[][] {
  const runs: Segment[][] = []
  for (const segment of segments) {
    const run = runs.at(-1)
    if (run?.at(-1)?.end === segment.start) run.push(segment)
    else runs.push([segment])
  }
  return runs
}
