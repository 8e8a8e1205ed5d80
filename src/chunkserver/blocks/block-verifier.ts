import { BlockIdHasher, blockIdOf, type Checksums, type PieceHasher } from '../../core/checksum.ts'
import { FsError } from '../../core/errors.ts'
import type { BlockId } from '../../core/ids.ts'

/** What a sender claims of a block. */
export interface BlockClaim {
  readonly id: BlockId
  readonly length: number
  readonly checksums: Uint8Array
}

/**
 * Checks a block that arrives in parts against what its sender claimed. The last part is accepted only if
 * all of the block is right, so whoever passes parts on after checking them never completes a wrong block.
 */
export class BlockVerifier {
  readonly #checksums: Checksums
  readonly #claim: BlockClaim
  readonly #verifyId: boolean
  readonly #domain: Uint8Array
  #pieces: PieceHasher | undefined
  #hash: BlockIdHasher | undefined
  #received = 0

  /** `domain`: what the id was made with. */
  constructor(
    checksums: Checksums,
    claim: BlockClaim,
    options: { readonly verifyId: boolean; readonly domain: Uint8Array },
  ) {
    this.#domain = options.domain
    this.#checksums = checksums
    this.#claim = claim
    this.#verifyId = options.verifyId
  }

  get complete(): boolean {
    return this.#received === this.#claim.length
  }

  /** Throws EINVAL for too much data, EIO when the whole block is not what was claimed. */
  update(data: Uint8Array): void {
    const { id, length } = this.#claim
    this.#received += data.length
    if (this.#received > length)
      throw new FsError('EINVAL', `Cannot put block ${id}: more than its ${length} bytes arrived`)
    // A block in one part, as all small ones are, needs nothing that is kept between parts.
    if (data.length === length)
      this.#finish(this.#checksums.make(id, data), this.#verifyId ? blockIdOf(data, this.#domain) : id)
    else this.#add(data)
  }

  #add(data: Uint8Array): void {
    const { id } = this.#claim
    this.#pieces ??= this.#checksums.hasher(id)
    this.#pieces.update(data)
    if (this.#verifyId) this.#hash ??= new BlockIdHasher(this.#domain)
    this.#hash?.update(data)
    if (this.complete) this.#finish(this.#pieces.digest(), this.#hash?.digest() ?? id)
  }

  #finish(made: Buffer, found: BlockId): void {
    const { id, checksums } = this.#claim
    if (Buffer.compare(made, checksums) !== 0)
      throw new FsError('EIO', `Cannot put block ${id}: its bytes do not match the checksums sent with it`)
    if (found !== id) throw new FsError('EIO', `Cannot put block ${id}: the id of its bytes is ${found}`)
  }
}
