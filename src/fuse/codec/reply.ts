import { assert } from '../../core/assert.ts'
import type { Ino } from '../../core/ids.ts'
import { errnoMax, outHeaderBytes } from './abi.ts'

/** Longest reply but for its data: struct fuse_statx_out. */
const fixedBytesMax = 288

const noPieces: readonly Uint8Array[] = []

/**
 * Encodes one answer: a header and structure in memory that is used again for the next answer, and data
 * that is passed on without a copy. Sending is synchronous, so that one of these serves a whole session.
 */
export class Reply {
  readonly head = Buffer.alloc(outHeaderBytes + fixedBytesMax)
  readonly #view = new DataView(this.head.buffer, this.head.byteOffset, this.head.byteLength)
  /** What the kernel calls 1; undefined: 1. */
  root: Ino | undefined
  /** Bytes of `head` in use. */
  length = 0
  pieces: readonly Uint8Array[] = noPieces
  #pieceBytes = 0

  start(unique: number): void {
    this.#view.setInt32(4, 0, true)
    this.#number(8, unique)
    this.length = outHeaderBytes
    this.pieces = noPieces
    this.#pieceBytes = 0
  }

  /** Makes it an error reply, whatever was written so far. */
  fail(errno: number): void {
    assert(errno > 0 && errno <= errnoMax, () => `errno ${errno} is not one that the kernel takes`)
    this.length = outHeaderBytes
    this.pieces = noPieces
    this.#pieceBytes = 0
    this.#view.setInt32(4, -errno, true)
  }

  /** Writes the total length: the last step. */
  finish(): void {
    this.#view.setUint32(0, this.length + this.#pieceBytes, true)
  }

  u16(value: number): void {
    this.#view.setUint16(this.#take(2), value, true)
  }

  u32(value: number): void {
    this.#view.setUint32(this.#take(4), value, true)
  }

  u64(value: bigint): void {
    this.#view.setBigUint64(this.#take(8), value, true)
  }

  /** A non-negative safe integer as u64. */
  size(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, () => `${value} is not a size`)
    this.#number(this.#take(8), value)
  }

  zeros(bytes: number): void {
    const from = this.#take(bytes)
    this.head.fill(0, from, from + bytes)
  }

  /** Where a structure of `bytes` is to be written into `head`. */
  reserve(bytes: number): number {
    return this.#take(bytes)
  }

  /** Appends data; its owner must not change it until it was sent. */
  data(pieces: readonly Uint8Array[]): void {
    this.pieces = pieces
    let bytes = 0
    for (const piece of pieces) bytes += piece.length
    this.#pieceBytes = bytes
  }

  #take(bytes: number): number {
    const at = this.length
    this.length += bytes
    return at
  }

  #number(at: number, value: number): void {
    this.#view.setUint32(at, value >>> 0, true)
    this.#view.setUint32(at + 4, Math.floor(value / 2 ** 32), true)
  }
}
