import type { BlockId } from '../../core/ids.ts'

/** Blocks remembered, of those that were read last. */
const blocksMax = 4096

/**
 * Tells blocks that are read again and again from those that a reader of a large file passes once: only the
 * former are worth the memory of the page cache.
 */
export class PopularBlocks {
  /** Bytes read lately; the block read last comes last. */
  readonly #bytes = new Map<BlockId, number>()

  /** Whether, before this read of `bytes`, more of the block was read than it is long. */
  note(id: BlockId, bytes: number, length: number): boolean {
    if (bytes === 0) return false
    const before = this.#bytes.get(id) ?? 0
    this.#bytes.delete(id)
    this.#bytes.set(id, Math.min(before + bytes, 2 * length))
    if (this.#bytes.size > blocksMax)
      for (const oldest of this.#bytes.keys()) {
        this.#bytes.delete(oldest)
        break
      }
    return before >= length
  }
}
