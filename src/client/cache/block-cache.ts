/**
 * Verified bytes of blocks in memory. Blocks are immutable, so a cached piece is never stale, only
 * evicted; what is evicted goes by whole blocks, since pieces that came together share buffers.
 */
import { LRUCache } from 'lru-cache'
import type { BlockId } from '../../core/ids.ts'

/** What an entry costs beside its bytes. */
const entryOverhead = 512

export interface CachedBlock {
  /** By number; a missing one is not cached. Each holds the whole piece (the block's last may be short). */
  readonly pieces: Map<number, Uint8Array>
  bytes: number
}

export class BlockCache {
  readonly #blocks: LRUCache<BlockId, CachedBlock>
  readonly maxBytes: number

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
    this.#blocks = new LRUCache({
      maxSize: Math.max(1, maxBytes),
      sizeCalculation: block => block.bytes + entryOverhead,
    })
  }

  get bytes(): number {
    return this.#blocks.calculatedSize
  }

  get(id: BlockId): CachedBlock | undefined {
    return this.#blocks.get(id)
  }

  /** Adds verified pieces, which follow each other from `first` on. The cache keeps them as they are. */
  add(id: BlockId, first: number, pieces: readonly Uint8Array[]): void {
    const block = this.#blocks.get(id) ?? { pieces: new Map<number, Uint8Array>(), bytes: 0 }
    for (const [index, piece] of pieces.entries()) {
      if (block.pieces.has(first + index)) continue
      block.pieces.set(first + index, piece)
      block.bytes += piece.length
    }
    // Set again, so that its size is counted anew.
    this.#blocks.delete(id)
    this.#blocks.set(id, block)
  }

  delete(id: BlockId): void {
    this.#blocks.delete(id)
  }

  clear(): void {
    this.#blocks.clear()
  }
}
