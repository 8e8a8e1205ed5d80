/**
 * The write side of one file: what was accepted, sealed, and is on its way.
 *
 *   write ──► buffer ──seal──► batch ──store──► settled ──commit, in order──► gone
 *               ▲                 │                             │
 *               └──── restored ◄──┴───── a failure ◄────────────┘
 *
 * Batches are stored side by side but committed in the order they were sealed, one commit at a time, so
 * that data and size appear together and in order. When one fails, it and all behind it become dirty
 * again: nothing that was accepted is dropped, unless the file is gone or the session that accepted it
 * has ended. Everything here is lost with the process; what was committed is the master's.
 */
import { FsError, messageOf } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import { fileBytesMax } from '../../core/limits.ts'
import { KiB } from '../../core/units.ts'
import { attrFromWire } from '../../wire/attr.ts'
import { IntervalSet, type Range } from '../interval-set.ts'
import type { FileExtents } from '../read/file-extents.ts'
import { deferred, type Deferred, nextTurn } from '../waiting.ts'
import { type Batch, clipRanges, dirtyOf, dirtyOfAll, dirtyPartsFrom, newBatch } from './batch.ts'
import { type CommitUnit, commitOf, extentsOf, nextUnit, tokensOf } from './commit-unit.ts'
import { FileBuffer } from './file-buffer.ts'
import { sealBlock, sealSmall } from './seal-block.ts'
import type { SealedRange } from './sealed.ts'
import type { WriteContext } from './write-context.ts'

/** Bytes in sequence after which the rest of a window is expected to follow. */
const eagerAfterBytes = 256 * KiB
/** Small blocks are hashed in groups of this many bytes, counting what each costs beside its bytes. */
const hashGroupBytes = 256 * KiB
const hashCostBytes = 4 * KiB
/** How often a commit may ask for blocks to be put again before the write-back fails. */
const againMax = 5

/** A part of what was accepted, as a reader sees it. */
export interface OverlayPart extends Range {
  readonly bytes: Buffer
}

export class FileWriter {
  readonly ino: Ino
  readonly #context: WriteContext<FileWriter>
  readonly #extents: FileExtents
  readonly #buffer: FileBuffer
  #batches: Batch[] = []
  /** Dirty bytes in batches. */
  #sealedBytes = 0
  /** Of appends under way: they are answered when they are committed, so no flush and no recall waits for them. */
  #appendingBytes = 0
  /** What the schedule was told. */
  #countedBytes = 0
  #committing: { readonly unit: CommitUnit; readonly done: Deferred<undefined> } | undefined
  /** While a truncation is under way: what the size does not fall below, though the bytes that made it are gone. */
  #sizeMin = 0
  #cutting: Deferred<undefined> | undefined
  /** Dirty bytes that it took, later ones before earlier ones. Undefined while none is under way, and when the session died. */
  #cut: SealedRange[] | undefined
  #lastEnd = 0
  #sequentialBytes = 0
  #lastWrite = 0n
  #carriesMtime = false
  #open = true
  /** Of a write-back that nobody waited for. */
  #error: FsError | undefined
  /** `#error` is of bytes that were dropped, not of some that are still dirty. */
  #lostData = false

  constructor(ino: Ino, context: WriteContext<FileWriter>, extents: FileExtents) {
    this.ino = ino
    this.#context = context
    this.#extents = extents
    this.#buffer = new FileBuffer(context.pool)
  }

  get dirtyBytes(): number {
    return this.#buffer.dirtyBytes + this.#sealedBytes
  }

  /** Dirty bytes that are not on their way. */
  get unsealedBytes(): number {
    return this.#buffer.dirtyBytes
  }

  get idle(): boolean {
    return this.#buffer.dirtyBytes === 0 && this.#batches.length === 0
  }

  /** A write-back failed, and nobody has heard of it. */
  get hasError(): boolean {
    return this.#error !== undefined
  }

  /** Time of the last write, if programs see it as the file's mtime though it is not committed. */
  get pendingMtime(): bigint | undefined {
    return this.#carriesMtime && this.dirtyBytes > 0 ? this.#lastWrite : undefined
  }

  write(offset: number, data: Uint8Array): void | Promise<void> {
    if (offset + data.length > fileBytesMax) throw new FsError('EFBIG', `${data.length} bytes at ${offset}`)
    if (data.length === 0) return undefined
    if (!this.#context.schedule.tryAdmit(data.length)) return this.#writeLater(offset, data)
    this.#accept(offset, data)
    return undefined
  }

  writeIf(offset: number, data: Uint8Array, holds: () => boolean): boolean | Promise<boolean> {
    if (offset + data.length > fileBytesMax) throw new FsError('EFBIG', `${data.length} bytes at ${offset}`)
    if (data.length === 0) return true
    if (!this.#context.schedule.tryAdmit(data.length)) return this.#writeLaterIf(offset, data, holds)
    this.#accept(offset, data)
    return true
  }

  async append(data: Uint8Array): Promise<number> {
    await this.flush()
    await this.#context.schedule.admitted(data.length)
    const { master, pool, space } = this.#context
    space.accepted(data.length, data.length)
    const now = master.time()
    if (now > this.#lastWrite) this.#lastWrite = now
    this.#carriesMtime = true
    const ranges: SealedRange[] = []
    for (let at = 0; at < data.length; at += pool.fullBytes) {
      const part = data.subarray(at, at + pool.fullBytes)
      const chunk = pool.take(part.length)
      chunk.bytes.set(part)
      const sealed = chunk.bytes.subarray(0, part.length)
      ranges.push({ offset: at, end: at + part.length, dirtyFrom: at, data: sealed, chunk })
    }
    return await this.#storeAppend(newBatch(ranges, this.#lastWrite, this.#lastWrite))
  }

  async flush(): Promise<void> {
    this.#sealAll()
    const last = this.#batches.at(-1)
    if (last === undefined) {
      const error = this.takeError()
      if (error !== undefined) throw error
      return
    }
    last.awaited = true
    await last.done.promise
    const error = this.takeError()
    if (error !== undefined) throw error
  }

  /** As flush, but nobody waits: an error is kept. */
  writeBack(): void {
    this.#sealAll()
  }

  /** As flush, for who has not written it and wants its memory or space: an error is kept for whose it is. */
  async writtenBack(): Promise<void> {
    this.#sealAll()
    await this.#batches.at(-1)?.done.promise.catch(() => undefined)
  }

  closed(): void {
    this.#open = false
    if (this.#buffer.dirtyBytes === 0) this.#buffer.dropClean()
    else this.#context.schedule.closed(this)
  }

  mtimeSet(): void {
    this.#carriesMtime = false
    for (const batch of this.#batches) batch.mtime = undefined
  }

  takeError(): FsError | undefined {
    const error = this.#error
    this.#error = undefined
    this.#lostData = false
    return error
  }

  dropClean(): void {
    this.#buffer.dropClean()
  }

  async cutTo(size: number): Promise<number> {
    this.#sizeMin = this.sizeOver(0)
    const before = this.dirtyBytes
    const sent = new Set(this.#committing?.unit.ranges)
    this.#cut = this.#buffer.dirtyFrom(size)
    for (const { ranges } of [...this.#batches].reverse())
      this.#cut.push(
        ...dirtyPartsFrom(
          ranges.filter(range => !sent.has(range)),
          size,
        ),
      )
    const discarded = this.discardFrom(size)
    if (this.dirtyBytes < before) this.#cutting = deferred()
    await discarded
    return before - this.dirtyBytes
  }

  /** A truncation is under way, and bytes that the file still has are gone here: pending until it is over. */
  get cutting(): Promise<undefined> | undefined {
    return this.#cutting?.promise
  }

  async discardFrom(size: number): Promise<void> {
    const before = this.dirtyBytes
    this.#buffer.discardFrom(size)
    const committing = this.#committing
    const sent = new Set(committing?.unit.ranges)
    for (const { ranges } of this.#batches) {
      const unsent = sent.size === 0 ? ranges : ranges.filter(range => !sent.has(range))
      this.#sealedBytes -= clipRanges(unsent, size)
    }
    this.#lastEnd = Math.min(this.#lastEnd, size)
    this.#context.space.giveBack(before - this.dirtyBytes)
    this.#count()
    if (committing === undefined) return
    committing.unit.clipTo = Math.min(committing.unit.clipTo, size)
    await committing.done.promise
  }

  /** As in FileData. What is on its way is left to itself: it is committed by nobody. */
  abandon(why: FsError): void {
    const before = this.dirtyBytes
    const [batches, committing] = [this.#batches, this.#committing]
    this.#batches = []
    this.#sealedBytes = 0
    this.#committing = undefined
    if (committing !== undefined) committing.unit.abandoned = true
    this.#buffer.discardFrom(0)
    this.#dropCut()
    for (const batch of batches) {
      batch.cancelled = true
      for (const range of batch.ranges) range.chunk.release()
      batch.done.reject(why)
    }
    committing?.done.resolve(undefined)
    this.#context.space.giveBack(before - this.dirtyBytes)
    this.#count()
  }

  cutRefused(): boolean {
    const { space, schedule } = this.#context
    if (this.#cut === undefined) return false
    const before = this.dirtyBytes
    for (const range of this.#cut) this.#buffer.restore(range)
    space.accepted(0, this.dirtyBytes - before)
    this.#count()
    if (this.dirtyBytes > 0) schedule.dirtied(this)
    return true
  }

  cutEnded(): void {
    this.#dropCut()
    this.#sizeMin = 0
    this.#cutting?.resolve(undefined)
    this.#cutting = undefined
  }

  #dropCut(): void {
    for (const { chunk } of this.#cut ?? []) chunk.release()
    this.#cut = undefined
  }

  /** The file's size as programs see it, when `committed` is the master's. */
  sizeOver(committed: number): number {
    let size = Math.max(committed, this.#buffer.dirtyEnd, this.#sizeMin)
    for (const { ranges } of this.#batches) {
      const last = ranges.findLast(range => dirtyOf(range) > 0)
      if (last !== undefined) size = Math.max(size, last.end)
    }
    return size
  }

  /**
   * Accepted bytes within [from, to), later writes before earlier ones, and what is left to the committed
   * file. Both in order of offset; the bytes are copies.
   */
  overlay(from: number, to: number): { readonly parts: OverlayPart[]; readonly gaps: Range[] } {
    const parts: OverlayPart[] = []
    let gaps: Range[] = [{ from, to }]
    const layer = (visitAll: (gap: Range, visit: Visit) => void): void => {
      const left: Range[] = []
      for (const gap of gaps) {
        let at = gap.from
        visitAll(gap, (start, end, bytes) => {
          if (start > at) left.push({ from: at, to: start })
          parts.push({ from: start, to: end, bytes: Buffer.from(bytes) })
          at = end
        })
        if (at < gap.to) left.push({ from: at, to: gap.to })
      }
      gaps = left
    }
    if (!this.#buffer.isEmpty) layer((gap, visit) => this.#buffer.overlay(gap.from, gap.to, visit))
    for (let i = this.#batches.length - 1; i >= 0 && gaps.length > 0; i--) {
      const ranges = this.#batches[i]?.ranges ?? []
      layer((gap, visit) => visitRanges(ranges, gap, visit))
    }
    return { parts: parts.sort((a, b) => a.from - b.from), gaps }
  }

  /** Where accepted bytes lie. */
  dirtyRanges(): IntervalSet {
    const dirty = new IntervalSet()
    for (const { from, to } of this.#buffer.dirtyRanges()) dirty.add(from, to)
    for (const { ranges } of this.#batches)
      for (const range of ranges) dirty.add(range.dirtyFrom, Math.max(range.dirtyFrom, range.end))
    return dirty
  }

  async #writeLater(offset: number, data: Uint8Array): Promise<void> {
    await this.#context.schedule.admitted(data.length)
    this.#accept(offset, data)
  }

  async #writeLaterIf(offset: number, data: Uint8Array, holds: () => boolean): Promise<boolean> {
    await this.#context.schedule.admitted(data.length)
    const held = holds()
    if (held) this.#accept(offset, data)
    else this.#context.space.accepted(data.length, 0)
    return held
  }

  #accept(offset: number, data: Uint8Array): void {
    const { master, space, schedule } = this.#context
    this.#open = true
    this.#sequentialBytes = offset === this.#lastEnd ? this.#sequentialBytes + data.length : data.length
    this.#lastEnd = offset + data.length
    const dirtied = this.#buffer.write(offset, data, this.#sequentialBytes >= eagerAfterBytes)
    space.accepted(data.length, dirtied)
    const now = master.time()
    if (now > this.#lastWrite) this.#lastWrite = now
    this.#carriesMtime = true
    this.#count()
    schedule.dirtied(this)
    const completed = this.#buffer.takeCompleted()
    for (const window of completed) this.#addBatch(this.#buffer.seal(this.#lastEnd, window))
    if (completed.length > 0 && this.#buffer.dirtyBytes === 0) schedule.sealed(this)
  }

  /** Beside the batches: nobody reads it before it is committed, and where it goes depends on none of them. */
  async #storeAppend(batch: Batch): Promise<number> {
    const { ranges, time } = batch
    const unit: CommitUnit = {
      batches: [batch],
      ranges: [...ranges],
      time,
      clipTo: Number.POSITIVE_INFINITY,
      append: true,
      abandoned: false,
    }
    const bytes = dirtyOfAll(ranges)
    this.#appendingBytes += bytes
    this.#count()
    try {
      await Promise.all(ranges.map(range => this.#storeRange(batch, range)))
      if (batch.error !== undefined) throw batch.error
      return await this.#commit(unit)
    } catch (thrown) {
      for (const range of ranges) range.chunk.release()
      const error = FsError.from(thrown)
      throw error.code === 'ESTALE' ? new FsError('EIO', error.message, { cause: error }) : error
    } finally {
      this.#appendingBytes -= bytes
      this.#count()
    }
  }

  #sealAll(): void {
    if (this.#buffer.dirtyBytes > 0) {
      const ranges = this.#buffer.seal(this.#open ? this.#lastEnd : -1)
      this.#addBatch(ranges)
    }
    this.#context.schedule.sealed(this)
  }

  #addBatch(ranges: SealedRange[]): void {
    if (ranges.length === 0) return
    const batch = newBatch(ranges, this.#carriesMtime ? this.#lastWrite : undefined, this.#lastWrite)
    this.#batches.push(batch)
    this.#sealedBytes += dirtyOfAll(ranges)
    this.#count()
    void this.#storeBatch(batch)
  }

  async #storeBatch(batch: Batch): Promise<void> {
    const storing: Promise<void>[] = []
    let hashed = 0
    for (const range of [...batch.ranges]) {
      hashed += range.data.length + hashCostBytes
      if (hashed > hashGroupBytes && storing.length > 0) {
        await nextTurn(this.#context.env.timers)
        hashed = 0
      }
      // Asked after the wait: what is cancelled has let go of its chunks.
      if (batch.cancelled) break
      storing.push(this.#storeRange(batch, range))
    }
    await Promise.all(storing)
    batch.settled = true
    void this.#commitSettled()
  }

  /** Never rejects: the batch has the error. */
  async #storeRange(batch: Batch, range: SealedRange): Promise<void> {
    const { blocks, checksums, env, master } = this.#context
    range.chunk.retain()
    let unmade: FsError | undefined
    // It was asked to make the file before anything that is asked for here, so that need not wait for the answer.
    const created = this.#created().catch((thrown: unknown) => {
      unmade = FsError.from(thrown)
    })
    try {
      const { dedupDomain } = master.facts
      // A session of before may have had another one.
      if (range.block === undefined || Buffer.compare(range.block.domain, dedupDomain) !== 0)
        range.block =
          range.data.length <= hashGroupBytes
            ? sealSmall(range.data, dedupDomain, checksums)
            : await sealBlock(range.data, dedupDomain, checksums, env.timers)
      const unwanted = (): boolean => batch.cancelled || range.end === range.offset || unmade !== undefined
      if (unwanted()) return
      const { data, chunk } = range
      range.stored = await blocks.store({ ...range.block, ino: this.ino, data, chunk, cancelled: unwanted })
    } catch (thrown) {
      if (range.end > range.offset) batch.error ??= FsError.from(thrown)
    } finally {
      range.chunk.release()
    }
    await created
    if (unmade !== undefined) batch.error = unmade
  }

  /** Nothing is committed of a file that the master may yet fail to make. ESTALE if it did, ETIMEDOUT if it is away. */
  async #created(): Promise<void> {
    try {
      await this.#context.attrs.creation(this.ino)
    } catch (thrown) {
      if (FsError.from(thrown).code === 'ETIMEDOUT') throw thrown
      throw new FsError('ESTALE', messageOf(thrown), { cause: thrown })
    }
  }

  /** Commits what is settled, in order, one commit at a time. */
  async #commitSettled(): Promise<void> {
    while (this.#committing === undefined) {
      const [head] = this.#batches
      if (head?.settled !== true) return
      if (head.error !== undefined) {
        this.#fail(head.error)
        return
      }
      const unit = nextUnit(this.#batches)
      if (unit === undefined) return
      const committing = { unit, done: deferred<undefined>() }
      this.#committing = committing
      let failure: FsError | undefined
      try {
        await this.#commit(unit)
      } catch (thrown) {
        failure = FsError.from(thrown)
        if (!unit.abandoned) {
          this.#cut?.push(...dirtyPartsFrom(unit.ranges, unit.clipTo))
          this.#sealedBytes -= clipRanges(unit.ranges, unit.clipTo)
        }
      }
      // What is committed now, if anything, is of another session.
      if (unit.abandoned) return
      this.#committing = undefined
      if (failure !== undefined) this.#fail(failure)
      this.#count()
      committing.done.resolve(undefined)
    }
  }

  /** Resolves with where an append began. */
  async #commit(unit: CommitUnit): Promise<number> {
    const { master, attrs } = this.#context
    const { session } = master.identity
    for (let round = 0; ; round++) {
      if (isAbandoned(unit)) return 0
      const made = commitOf(this.ino, unit, attrs.keepsPages(this.ino))
      if (made === undefined) {
        this.#forgetRanges(unit)
        return 0
      }
      const { version } = this.#extents
      let reply
      try {
        reply = await master.call({ $case: 'commit', value: made.commit }, 'commit')
      } catch (thrown) {
        const error = FsError.from(thrown)
        // Whether it happened is unknown, and what other mounts did since too: it must not happen again.
        if (master.identity.session !== session) throw new FsError('ESTALE', error.message, { cause: error })
        throw error
      }
      if (isAbandoned(unit)) return 0
      if (reply.again.length === 0) {
        const attr = attrFromWire(reply.attr)
        const base = unit.append ? attr.size - (unit.ranges.at(-1)?.end ?? 0) : 0
        attrs.noteCommitted(attr, reply.early)
        const rights = { tokens: tokensOf(made.rangesOfBlock, reply.tokens), until: reply.tokensUntil }
        this.#extents.committed(extentsOf(this.ino, unit, base, rights), version)
        this.#forgetRanges(unit)
        return base
      }
      if (round >= againMax)
        throw new FsError('EIO', `Blocks of inode ${this.ino} vanish before they are committed`)
      await this.#storeAgain(unit, reply.again.map(index => made.rangesOfBlock[index] ?? []).flat())
    }
  }

  async #storeAgain(unit: CommitUnit, ranges: readonly SealedRange[]): Promise<void> {
    const [first] = unit.batches
    if (first === undefined) return
    if (ranges.length === 0)
      throw new FsError('EPROTO', 'The master asks again for blocks that were not sent')
    await Promise.all(ranges.map(range => this.#storeRange(first, range)))
    if (first.error !== undefined) throw first.error
  }

  /** The ranges of a unit are committed: readers find them among the extents. */
  #forgetRanges(unit: CommitUnit): void {
    const gone = new Set(unit.ranges)
    if (!unit.append) this.#sealedBytes -= dirtyOfAll(unit.ranges)
    for (const range of unit.ranges) {
      if (range.end > range.offset && range.block !== undefined)
        this.#context.written.keep(range.block.id, range.data)
      range.chunk.release()
    }
    for (const batch of unit.batches) batch.ranges = batch.ranges.filter(range => !gone.has(range))
    const done = this.#batches.filter(batch => batch.ranges.length === 0 && unit.batches.includes(batch))
    this.#batches = this.#batches.filter(batch => !done.includes(batch))
    this.#count()
    for (const batch of done) batch.done.resolve(undefined)
  }

  /**
   * Nothing that is sealed will be committed: all of it is dirty again, or dropped if nobody may store it. That is so
   * without a lease, too: by the next try others may have stored what is newer.
   */
  #fail(error: FsError): void {
    const { attrs, env, schedule, space } = this.#context
    if (error.code === 'ENOSPC') space.doubt()
    const batches = this.#batches
    const gone = error.code === 'ENOENT' || error.code === 'ESTALE'
    const dropped = gone || !attrs.isAlone(this.ino)
    this.#batches = []
    this.#sealedBytes = 0
    this.#buffer.dropClean()
    for (const batch of batches) batch.cancelled = true
    for (const batch of [...batches].reverse())
      for (const range of batch.ranges) {
        if (!dropped && range.end > range.offset) this.#buffer.restore(range)
        range.chunk.release()
      }
    this.#count()
    const bytes = batches.reduce((sum, batch) => sum + dirtyOfAll(batch.ranges), 0)
    const fields = { ino: this.ino, bytes, dropped, error: messageOf(error) }
    // Nothing was left of it when the answer came: it was removed, and discarded, meanwhile.
    if (error.code === 'ENOENT' || (dropped && bytes === 0))
      env.log.info('a removed file was not written back', fields)
    else env.log.error('a file could not be written back', fields)
    const report = error.code === 'ESTALE' ? new FsError('EIO', error.message, { cause: error }) : error
    // What a mapping left is in it, too, of which nobody waits to hear.
    const heard = batches.some(batch => batch.awaited) && (gone || !dropped)
    if (!heard && error.code !== 'ENOENT') {
      this.#lostData ||= dropped
      this.#error = report
    }
    for (const batch of batches) batch.done.reject(report)
    schedule.failed(this, report)
  }

  #count(): void {
    const change = this.dirtyBytes + this.#appendingBytes - this.#countedBytes
    if (change === 0) return
    this.#countedBytes += change
    // An earlier failure matters no more when what failed then is stored now.
    if (this.#countedBytes === 0 && !this.#lostData) this.#error = undefined
    this.#context.schedule.counted(this, change)
  }
}

/** Asked again after each wait. */
const isAbandoned = ({ abandoned }: CommitUnit): boolean => abandoned

type Visit = (from: number, to: number, bytes: Buffer) => void

function visitRanges(ranges: readonly SealedRange[], gap: Range, visit: Visit): void {
  for (const range of ranges) {
    const from = Math.max(gap.from, range.offset)
    const to = Math.min(gap.to, range.end)
    if (from < to) visit(from, to, range.data.subarray(from - range.offset, to - range.offset))
  }
}
