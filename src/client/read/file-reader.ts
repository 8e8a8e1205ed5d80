/** The read side of one file: what is committed, with what was accepted laid over it. */
import { zeros } from './zeros.ts'
import type { Attr } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import type { ReadBytes } from '../../core/read-bytes.ts'
import { Hold } from '../cache/pieces.ts'
import type { Range } from '../interval-set.ts'
import type { AttrPort } from '../ports.ts'
import { type Interruptible, interruptible } from '../waiting.ts'
import type { FileWriter, OverlayPart } from '../write/file-writer.ts'
import type { BlockReader } from './block-reader.ts'
import type { MappedExtent } from './extent-map.ts'
import type { FileExtents } from './file-extents.ts'
import { ReadStreams } from './read-streams.ts'

/** How often a read starts again because blocks it was told of are gone. */
const staleExtentsMax = 4

type Piece = Uint8Array[] | Promise<Uint8Array[]>

/** The pieces of a read, of which some may be on their way. */
interface Begun {
  readonly pieces: readonly Piece[]
  readonly hold: Hold
}

const all = (pieces: readonly Piece[]): Promise<Uint8Array[][]> =>
  Promise.all(pieces.map(piece => Promise.resolve(piece)))

export class FileReader {
  readonly #ino: Ino
  readonly #attrs: AttrPort
  readonly #extents: FileExtents
  readonly #writer: FileWriter
  readonly #blocks: BlockReader
  readonly #streams: ReadStreams

  constructor(
    ino: Ino,
    attrs: AttrPort,
    extents: FileExtents,
    writer: FileWriter,
    blocks: BlockReader,
    aheadBytes: number,
  ) {
    this.#ino = ino
    this.#attrs = attrs
    this.#extents = extents
    this.#writer = writer
    this.#blocks = blocks
    this.#streams = new ReadStreams(aheadBytes)
  }

  /** At once when all of it is at hand. */
  read(offset: number, size: number, reader?: Interruptible): ReadBytes | Promise<ReadBytes> {
    if (this.#writer.cutting !== undefined) return this.#readLater(offset, size, reader?.signal)
    const committed = this.#attrs.committed(this.#ino)
    if (committed instanceof Promise) return this.#readLater(offset, size, reader?.signal, committed)
    const begun = this.#begin(this.#attrs.latest(committed), offset, size)
    if ('unknown' in begun) return this.#readLater(offset, size, reader?.signal, committed)
    const { pieces, hold } = begun
    const here: Uint8Array[][] = []
    for (const piece of pieces) {
      if (piece instanceof Promise) return this.#readLater(offset, size, reader?.signal, committed, begun)
      here.push(piece)
    }
    return { pieces: here.length === 1 ? (here[0] ?? []) : here.flat(), release: () => hold.release() }
  }

  /** What a read waits for, as of one moment: nothing happens between the question for the size and this. */
  #begin(attr: Attr, offset: number, size: number): Begun | { readonly unknown: Range } {
    const hold = new Hold()
    const end = Math.min(offset + size, this.#writer.sizeOver(attr.size))
    if (end <= offset) return { pieces: [], hold }
    const { parts, gaps } = this.#writer.overlay(offset, end)
    const unknown = this.#firstUnknown(gaps, attr.size)
    if (unknown !== undefined) return { unknown }
    const pieces = this.#piecesOf(parts, gaps, attr.size, hold)
    this.#readAhead(offset, end - offset, attr.size)
    return { pieces, hold }
  }

  /** `asked` and `begun` are what was had of it already. */
  async #readLater(
    offset: number,
    size: number,
    signal: AbortSignal | undefined,
    asked?: Attr | Promise<Attr>,
    begun?: Begun,
  ): Promise<ReadBytes> {
    for (let stale = 0; ; asked = begun = undefined) {
      if (begun === undefined) {
        const { cutting } = this.#writer
        if (cutting !== undefined) {
          await interruptible(cutting, signal)
          continue
        }
        const committed = asked ?? this.#attrs.committed(this.#ino)
        const attr = this.#attrs.latest(
          committed instanceof Promise ? await interruptible(committed, signal) : committed,
        )
        if (this.#writer.cutting !== undefined) continue
        const next = this.#begin(attr, offset, size)
        if ('unknown' in next) {
          await interruptible(this.#extents.resolve(next.unknown, attr.size), signal)
          continue
        }
        begun = next
      }
      const { pieces, hold } = begun
      try {
        const found = await interruptible(all(pieces), signal)
        return { pieces: found.flat(), release: () => hold.release() }
      } catch (thrown) {
        hold.release()
        if (!(thrown instanceof FsError) || thrown.code !== 'ENOENT') throw thrown
        // The extents were older than we believed: another mount replaced the blocks, and they are gone.
        if (++stale >= staleExtentsMax)
          throw new FsError('EIO', `inode ${this.#ino}: ${thrown.message}`, { cause: thrown })
        this.#extents.forget()
      }
    }
  }

  async seek(offset: number, whence: 'data' | 'hole'): Promise<number> {
    for (let at = offset; ; ) {
      const attr = this.#attrs.latest(await this.#attrs.committed(this.#ino))
      const size = this.#writer.sizeOver(attr.size)
      if (offset >= size) throw new FsError('ENXIO', `inode ${this.#ino}: ${offset} of ${size}`)
      if (at >= size) {
        if (whence === 'hole') return size
        throw new FsError('ENXIO', `inode ${this.#ino}: no data from ${offset} on`)
      }
      const dirty = this.#writer.dirtyRanges()
      const clean = dirty.firstGap(at, size)
      if (whence === 'hole') {
        if (clean === undefined) return size
        at = clean.from
        if (at >= attr.size) return at
        const unknown = this.#extents.firstUnknown(at, at + 1)
        if (unknown === undefined) {
          const [extent] = this.#extents.within(at, at + 1)
          if (extent === undefined) return at
          at = this.#extents.next(at)?.to ?? extent.to
          continue
        }
        await this.#extents.resolve(unknown, attr.size)
        continue
      }
      if (clean?.from !== at) return at
      // [at, clean.to) is not dirty: what is committed there decides, then the dirty range behind it.
      const limit = Math.min(clean.to, attr.size)
      const unknown = this.#extents.firstUnknown(at, limit)
      const next = this.#extents.next(at)
      if (next !== undefined && next.from < (unknown?.from ?? limit)) return Math.max(at, next.from)
      if (unknown === undefined) at = clean.to
      else {
        at = unknown.from
        await this.#extents.resolve(unknown, attr.size)
      }
    }
  }

  /** Behind the committed end there is nothing to ask for. */
  #firstUnknown(gaps: readonly Range[], committed: number): Range | undefined {
    for (const { from, to } of gaps) {
      const unknown = this.#extents.firstUnknown(from, Math.min(to, committed))
      if (unknown !== undefined) return unknown
    }
    return undefined
  }

  #piecesOf(parts: readonly OverlayPart[], gaps: readonly Range[], committed: number, hold: Hold): Piece[] {
    const located: { readonly from: number; readonly piece: Piece }[] = []
    for (const { from, bytes } of parts) located.push({ from, piece: [bytes] })
    for (const { from, to } of gaps) {
      let at = from
      for (const extent of this.#extents.within(from, Math.min(to, committed))) {
        if (extent.from > at) located.push({ from: at, piece: zeros(extent.from - at) })
        located.push({ from: extent.from, piece: this.#bytesOf(extent, hold) })
        at = extent.to
      }
      if (at < to) located.push({ from: at, piece: zeros(to - at) })
    }
    return located.sort((a, b) => a.from - b.from).map(({ piece }) => piece)
  }

  #bytesOf({ block, blockOffset, from, to }: MappedExtent, hold: Hold): Piece {
    block.at = from
    return this.#blocks.read(block, blockOffset, blockOffset + (to - from), hold)
  }

  #readAhead(offset: number, size: number, committed: number): void {
    const ahead = this.#streams.note(offset, size)
    if (ahead === undefined || ahead.from >= committed) return
    this.prefetch(ahead.from, Math.min(ahead.to, committed), committed)
  }

  /** Brings what is committed of [from, to) into the cache; `committed` is the file's size. */
  prefetch(from: number, to: number, committed: number): void {
    const unknown = this.#extents.firstUnknown(from, to)
    if (unknown === undefined) this.#fetch(from, to)
    // The reader that gets there asks again if this fails.
    else
      this.#extents.resolve(unknown, committed).then(
        () => this.#fetch(from, to),
        () => undefined,
      )
  }

  #fetch(from: number, to: number): void {
    for (const { block, blockOffset, from: start, to: end } of this.#extents.within(from, to)) {
      block.at = start
      void this.#blocks.readAhead(block, blockOffset, blockOffset + (end - start))
    }
  }
}
