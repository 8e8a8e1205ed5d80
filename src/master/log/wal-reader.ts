/**
 * Reads what commits append to SQLite's write-ahead log (sqlite.org/fileformat2.html#walformat): page for page what
 * changed, whoever changed it. Nothing is missed, since only its owner moves the log's pages into the database, after
 * a look: SQLite begins the file anew only at the first change after it was moved whole.
 *
 *   header, 32 bytes: magic, version, page size, number of the checkpoint, two salts, two checksums
 *   frames: page number, pages of the database (0: the transaction goes on), the salts, two checksums; the page
 *
 * A frame counts if its salts are the header's and its checksums, which go on from frame to frame, are right; a
 * transaction if its last frame does. What a transaction that was taken back has left lies behind the last commit.
 */
import { isPageBytes } from '../../wire/log-records.ts'
import type { ChangedPages, PageSource } from './changed-pages.ts'

/** Reads up to `length` bytes of the file; fewer at its end, none where there is no file. */
export type ReadWal = (offset: number, length: number) => Uint8Array

export const headerBytes = 32
export const frameHeadBytes = 24
/** Its last bit says that checksums are made of big-endian numbers. */
const magic = 0x377f_0682
/** Read at once: few at first, since most looks find few. */
const framesFirst = 16
const framesMost = 256

export interface Header {
  readonly pageBytes: number
  readonly salts: readonly [number, number]
  readonly little: boolean
  /** With which those of the first frame begin. */
  readonly sums: Readonly<Sums>
}

export interface Sums {
  a: number
  b: number
}

export class WalReader implements PageSource {
  readonly #read: ReadWal
  #header: Header | undefined
  /** Frames of it that were looked at, and the checksums of the last of them. */
  #frames = 0
  #sums: Readonly<Sums> = { a: 0, b: 0 }
  #missed = false

  /** What is in the file now is left out. */
  constructor(read: ReadWal) {
    this.#read = read
    this.take()
  }

  /** Frames in the file. */
  get frames(): number {
    return this.#frames
  }

  take(): ChangedPages | undefined {
    const header = this.#readHeader()
    if (header === undefined) return undefined
    const frameBytes = frameHeadBytes + header.pageBytes
    const found = new Map<number, Uint8Array>()
    let databasePages = 0
    /** Of the transaction that is being read. */
    let open: [number, Uint8Array][] = []
    let frame = this.#frames
    const sums = { ...this.#sums }
    for (let more = true, count = framesFirst; more; count = Math.min(framesMost, count * 4)) {
      const bytes = this.#read(headerBytes + frame * frameBytes, count * frameBytes)
      more = bytes.length === count * frameBytes
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
      for (let at = 0; at + frameBytes <= bytes.length; at += frameBytes) {
        if (!frameFollows(view, at, header, sums)) {
          more = false
          break
        }
        frame++
        open.push([view.getUint32(at), bytes.subarray(at + frameHeadBytes, at + frameBytes)])
        const size = view.getUint32(at + 4)
        if (size === 0) continue
        for (const [number, data] of open) found.set(number, data)
        open = []
        databasePages = size
        this.#frames = frame
        this.#sums = { ...sums }
      }
    }
    if (databasePages === 0) return undefined
    const pages = [...found]
      .filter(([number]) => number <= databasePages)
      .sort(([one], [other]) => one - other)
      .map(([number, data]) => ({ number, data }))
    const missed = this.#missed
    this.#missed = false
    return { pageBytes: header.pageBytes, databasePages, missed, pages }
  }

  /** Undefined while there is none. */
  #readHeader(): Header | undefined {
    const bytes = this.#read(0, headerBytes)
    if (bytes.length < headerBytes) return undefined
    const view = new DataView(bytes.buffer, bytes.byteOffset, headerBytes)
    const known = this.#header
    if (known?.salts[0] === view.getUint32(16) && known.salts[1] === view.getUint32(20)) return known
    const header = parseHeader(bytes)
    if (header === undefined) return undefined
    // Each time the file begins anew the first salt is one more: if it is not, frames came and went unseen.
    if (known !== undefined && (known.salts[0] + 1) >>> 0 !== header.salts[0]) this.#missed = true
    this.#header = header
    this.#frames = 0
    this.#sums = header.sums
    return header
  }
}

/** Undefined for what is none. */
export function parseHeader(bytes: Uint8Array): Header | undefined {
  if (bytes.length < headerBytes) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, headerBytes)
  const little = view.getUint32(0) === magic
  const pageBytes = view.getUint32(8)
  const sums = { a: 0, b: 0 }
  addChecksums(sums, view, 0, 24, little)
  if (
    view.getUint32(0) >>> 1 !== magic >>> 1 ||
    !isPageBytes(pageBytes) ||
    sums.a !== view.getUint32(24) ||
    sums.b !== view.getUint32(28)
  )
    return undefined
  return { pageBytes, salts: [view.getUint32(16), view.getUint32(20)], little, sums }
}

/** Whether the frame at `at` is the next one; its checksums go into `sums`. */
export function frameFollows(
  view: DataView,
  at: number,
  { salts, pageBytes, little }: Header,
  sums: Sums,
): boolean {
  if (view.getUint32(at + 8) !== salts[0] || view.getUint32(at + 12) !== salts[1]) return false
  addChecksums(sums, view, at, 8, little)
  addChecksums(sums, view, at + frameHeadBytes, pageBytes, little)
  return sums.a === view.getUint32(at + 16) && sums.b === view.getUint32(at + 20)
}

function addChecksums(sums: Sums, view: DataView, from: number, length: number, little: boolean): void {
  let { a, b } = sums
  for (let at = from; at < from + length; at += 8) {
    a = (a + view.getUint32(at, little) + b) >>> 0
    b = (b + view.getUint32(at + 4, little) + a) >>> 0
  }
  sums.a = a
  sums.b = b
}
