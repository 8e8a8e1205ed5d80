/**
 * Records of the master's log: the pages that some commits changed, each as it was after the last of them. The same
 * bytes on the wire and in a chunkserver's files. A record says all about itself, and its checksum covers all of it,
 * so that wherever one begins it can be judged; what a crash left of the last one is noticed. Numbers are big endian.
 *
 *   at  bytes
 *    0      4  "CLr1"
 *    4      4  length of the whole record
 *    8      8  incarnation of the master
 *   16      8  sequence: 1 is the incarnation's first, each one is one more
 *   24      8  cluster time, ns
 *   32      4  pages of the database after it; 0: the commits end in a later record
 *   36      4  bytes of a page: a power of two from 512 to 65536
 *   40      4  number of pages in it, n
 *   44      4  zero
 *   48    4·n  their numbers in the database, from 1 on, rising
 *     n·page  the pages
 *  end-8    8  xxh64, seed 0, of all that is before
 */
import { assert } from '../core/assert.ts'
import type { Checksums } from '../core/checksum.ts'
import { FsError } from '../core/errors.ts'
import { MiB } from '../core/units.ts'

export interface LogRecordHead {
  readonly incarnation: bigint
  readonly sequence: bigint
  /** Cluster time, ns. */
  readonly time: bigint
  /** Of the whole database when all is replayed up to here; 0 while commits go on in the next record. */
  readonly databasePages: number
  readonly pageBytes: number
}

export interface LogPage {
  readonly number: number
  readonly data: Uint8Array
}

export interface LogRecordView extends LogRecordHead {
  readonly pages: readonly LogPage[]
  /** Of the whole record. */
  readonly length: number
}

const magic = 0x43_4c_72_31
const headBytes = 48
const checksumBytes = 8
export const pageBytesMin = 512
export const pageBytesMax = 65_536

/** What goes into one record at most, unless a single page is larger. */
export const recordPagesBytes = 1 * MiB
/** No record is longer. */
export const recordBytesMax =
  headBytes + recordPagesBytes + (recordPagesBytes / pageBytesMin) * 4 + checksumBytes
/** An empty one. */
export const recordBytesMin = headBytes + checksumBytes

export const recordLength = (pageBytes: number, pages: number): number =>
  headBytes + pages * (4 + pageBytes) + checksumBytes

/** Most pages of one record. */
export const pagesPerRecord = (pageBytes: number): number =>
  Math.max(1, Math.floor(recordPagesBytes / pageBytes))

/** The pages are in the order of their numbers. */
export function encodeRecord(
  checksums: Checksums,
  head: LogRecordHead,
  pages: readonly LogPage[],
): Uint8Array {
  const { incarnation, sequence, time, databasePages, pageBytes } = head
  assert(pages.length <= pagesPerRecord(pageBytes), 'the pages fit into a record')
  const length = recordLength(pageBytes, pages.length)
  const record = Buffer.alloc(length)
  record.writeUInt32BE(magic, 0)
  record.writeUInt32BE(length, 4)
  record.writeBigUInt64BE(incarnation, 8)
  record.writeBigUInt64BE(sequence, 16)
  record.writeBigInt64BE(time, 24)
  record.writeUInt32BE(databasePages, 32)
  record.writeUInt32BE(pageBytes, 36)
  record.writeUInt32BE(pages.length, 40)
  let at = headBytes
  for (const { number } of pages) at = record.writeUInt32BE(number, at)
  for (const { data } of pages) {
    assert(data.length === pageBytes, 'a page has the length of a page')
    record.set(data, at)
    at += pageBytes
  }
  record.writeBigUInt64BE(checksums.xxh64(record.subarray(0, at)), at)
  return record
}

/** Of the record that begins at `at`, if enough of it is there to say so and it can be one: its length. */
export function recordLengthAt(bytes: Uint8Array, at: number): number | undefined {
  if (at + headBytes > bytes.length) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, headBytes)
  const [length, pageBytes, count] = [view.getUint32(4), view.getUint32(36), view.getUint32(40)]
  const isOne =
    view.getUint32(0) === magic &&
    view.getUint32(44) === 0 &&
    isPageBytes(pageBytes) &&
    count <= pagesPerRecord(pageBytes) &&
    length === recordLength(pageBytes, count)
  return isOne ? length : undefined
}

/** The record that begins at `at`, its pages as views; undefined if there is none, or not a whole and right one. */
export function decodeRecord(checksums: Checksums, bytes: Uint8Array, at = 0): LogRecordView | undefined {
  const length = recordLengthAt(bytes, at)
  if (length === undefined || at + length > bytes.length) return undefined
  const end = length - checksumBytes
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, length)
  if (checksums.xxh64(bytes.subarray(at, at + end)) !== view.getBigUint64(end)) return undefined
  const [databasePages, pageBytes, count] = [view.getUint32(32), view.getUint32(36), view.getUint32(40)]
  const pages: LogPage[] = []
  const first = headBytes + 4 * count
  let last = 0
  for (let page = 0; page < count; page++) {
    const number = view.getUint32(headBytes + 4 * page)
    // What has a right checksum and is nonsense was made by nobody we know.
    if (number <= last) return undefined
    last = number
    const from = at + first + page * pageBytes
    pages.push({ number, data: bytes.subarray(from, from + pageBytes) })
  }
  return {
    incarnation: view.getBigUint64(8),
    sequence: view.getBigUint64(16),
    time: view.getBigInt64(24),
    databasePages,
    pageBytes,
    pages,
    length,
  }
}

/** As decodeRecord, of bytes that are exactly one record. Throws EPROTO. */
export function wholeRecord(checksums: Checksums, bytes: Uint8Array): LogRecordView {
  const record = decodeRecord(checksums, bytes)
  if (record?.length !== bytes.length) throw new FsError('EPROTO', 'record of the log: it is not a right one')
  return record
}

/** What SQLite takes for the length of a page. */
export const isPageBytes = (bytes: number): boolean =>
  bytes >= pageBytesMin && bytes <= pageBytesMax && (bytes & (bytes - 1)) === 0
