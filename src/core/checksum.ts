/**
 * Checksums and ids of blocks.
 *
 * A block's id is the SHA-256 of its bytes, or, in a dedup domain, the SHA-512/256 over "cairn dedup", the domain's 16 bytes and
 * that SHA-256: equal content in two domains is two blocks, and nobody without the domain can tell of an id what its content is. The
 * second hash is another function than the first one, so that no content has for its SHA-256 what is an id in a domain. Its checksums are one xxh64 per piece of `pieceBytes` (the
 * last piece may be short), 8 bytes each, big endian, in the order of the pieces. Piece i is hashed with
 * the seed (first 8 bytes of the id, big endian) xor i, so that right checksums of a wrong block, or of
 * another piece of the same block, do not pass. This is a format on disk and on the wire.
 */
import { createHash, type Hash } from 'node:crypto'
import xxhash from 'xxhash-wasm'
import { assert } from './assert.ts'
import type { BlockId } from './ids.ts'
import { pieceBytes } from './limits.ts'

export const checksumBytes = 8

/** Number of pieces, and so of checksums, of `length` bytes. */
export const pieceCount = (length: number): number => Math.ceil(length / pieceBytes)

/** Bytes of the checksums of a block of `length` bytes. */
export const checksumsLength = (length: number): number => pieceCount(length) * checksumBytes

/** Bytes of a dedup domain, where there is one. */
export const dedupDomainBytes = 16
/** That of the cluster: ids are plain. */
export const noDedupDomain = new Uint8Array(0)

export function blockIdOf(data: Uint8Array, domain: Uint8Array = noDedupDomain): BlockId {
  return idIn(domain, createHash('sha256').update(data))
}

/** For a block that arrives in parts. */
export class BlockIdHasher {
  readonly #hash = createHash('sha256')
  readonly #domain: Uint8Array

  constructor(domain: Uint8Array = noDedupDomain) {
    this.#domain = domain
  }

  update(data: Uint8Array): this {
    this.#hash.update(data)
    return this
  }

  /** Ends it. */
  digest(): BlockId {
    return idIn(this.#domain, this.#hash)
  }
}

function idIn(domain: Uint8Array, content: Hash): BlockId {
  return domain.length === 0 ? (content.digest('hex') as BlockId) : blockIdOfHash(content.digest(), domain)
}

/** Of a block whose bytes have this SHA-256, in a dedup domain that is not the cluster's. */
export function blockIdOfHash(inner: Uint8Array, domain: Uint8Array): BlockId {
  assert(domain.length === dedupDomainBytes, 'a dedup domain has its length')
  return createHash('sha512-256').update('cairn dedup').update(domain).update(inner).digest('hex') as BlockId
}

/** Made by createChecksums: the hash is WebAssembly, which is compiled asynchronously. */
export interface Checksums {
  /** Plain xxh64. */
  xxh64(data: Uint8Array, seed?: bigint): bigint
  /** The checksums of a whole block, or of the pieces from `firstPiece` on. */
  make(id: BlockId, data: Uint8Array, firstPiece?: number): Buffer
  /**
   * Index in the block of the first piece of `data` that does not match, or -1 when all do. `data` are
   * whole pieces from `firstPiece` on (the last one may be the short end of the block); `checksums` are
   * those of exactly these pieces. Checksums of another length match nothing.
   */
  mismatch(id: BlockId, data: Uint8Array, checksums: Uint8Array, firstPiece?: number): number
  /** For a block of known id that arrives in parts of any size. */
  hasher(id: BlockId): PieceHasher
}

/** Makes the checksums of data that arrives in parts; keeps at most one piece. */
export interface PieceHasher {
  update(data: Uint8Array): void
  /** Ends it with the checksums of all pieces. */
  digest(): Buffer
}

const seedOf = (id: BlockId): bigint => BigInt(`0x${id.slice(0, 2 * checksumBytes)}`)

export async function createChecksums(): Promise<Checksums> {
  const hash = await xxhash()
  const pieceOf = (seed: bigint, data: Uint8Array, piece: number): bigint =>
    hash.h64Raw(data, seed ^ BigInt(piece))

  const checksums: Checksums = {
    xxh64: (data, seed = 0n) => hash.h64Raw(data, seed),

    make(id, data, firstPiece = 0) {
      const seed = seedOf(id)
      const made = Buffer.allocUnsafe(checksumsLength(data.length))
      for (let at = 0, piece = 0; at < data.length; at += pieceBytes, piece++) {
        const sum = pieceOf(seed, data.subarray(at, at + pieceBytes), firstPiece + piece)
        made.writeBigUInt64BE(sum, piece * checksumBytes)
      }
      return made
    },

    mismatch(id, data, expected, firstPiece = 0) {
      if (expected.length !== checksumsLength(data.length)) return firstPiece
      const seed = seedOf(id)
      const view = new DataView(expected.buffer, expected.byteOffset, expected.byteLength)
      for (let at = 0, piece = 0; at < data.length; at += pieceBytes, piece++) {
        const sum = pieceOf(seed, data.subarray(at, at + pieceBytes), firstPiece + piece)
        if (sum !== view.getBigUint64(piece * checksumBytes)) return firstPiece + piece
      }
      return -1
    },

    hasher: id => new BufferingHasher((data, piece) => checksums.make(id, data, piece)),
  }
  return checksums
}

/**
 * Hashes whole pieces in place and copies only a part that is not one. Node's Buffers and the one-shot
 * hash beat the incremental xxh64, which copies its state in and out of WebAssembly with every update.
 */
class BufferingHasher implements PieceHasher {
  readonly #make: (data: Uint8Array, firstPiece: number) => Buffer
  readonly #made: Buffer[] = []
  #pieces = 0
  #part: Buffer | undefined
  #partBytes = 0
  #ended = false

  constructor(make: (data: Uint8Array, firstPiece: number) => Buffer) {
    this.#make = make
  }

  update(data: Uint8Array): void {
    assert(!this.#ended, 'update after digest')
    let rest = data
    if (this.#partBytes > 0) rest = rest.subarray(this.#fill(rest))
    const whole = rest.length - (rest.length % pieceBytes)
    if (whole > 0) this.#push(rest.subarray(0, whole))
    if (whole < rest.length) this.#fill(rest.subarray(whole))
  }

  digest(): Buffer {
    assert(!this.#ended, 'digest after digest')
    this.#ended = true
    if (this.#part !== undefined && this.#partBytes > 0) this.#push(this.#part.subarray(0, this.#partBytes))
    this.#part = undefined
    return Buffer.concat(this.#made)
  }

  /** Copies into the part that waits to become a piece; how many bytes it took. */
  #fill(data: Uint8Array): number {
    this.#part ??= Buffer.allocUnsafe(pieceBytes)
    const taken = Math.min(data.length, pieceBytes - this.#partBytes)
    this.#part.set(data.subarray(0, taken), this.#partBytes)
    this.#partBytes += taken
    if (this.#partBytes === pieceBytes) {
      this.#partBytes = 0
      this.#push(this.#part)
    }
    return taken
  }

  #push(pieces: Uint8Array): void {
    this.#made.push(this.#make(pieces, this.#pieces))
    this.#pieces += pieceCount(pieces.length)
  }
}
