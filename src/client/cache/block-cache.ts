/**
 * Verified bytes of blocks in memory. Blocks are immutable, so a cached piece is never stale, only
 * evicted; what is evicted goes by whole blocks, since short pieces that came together share buffers.
 */
import { LRUCache } from 'lru-cache'
import type { BlockId } from '../../core/ids.ts'
import type { Piece } from './pieces.ts'
import { WrittenBlocks } from './written-blocks.ts'

/** What an entry costs beside its bytes. */
const entryOverhead = 512

export interface CachedBlock {
  /** By number; a missing one is not cached. Each holds the whole piece (the block's last may be short). */
  readonly pieces: { get(index: number): Piece | undefined; has(index: number): boolean }
}

interface ReadBlock extends CachedBlock {
  readonly pieces: Map<number, Piece>
  cost: number
}

export class BlockCache {
  readonly #blocks: LRUCache<BlockId, ReadBlock>
  readonly #written: WrittenBlocks
  readonly maxBytes: number
  /** Reads that it answered, and those that had to ask a node for some of it. */
  hits = 0
  misses = 0
  /** What came from nodes. */
  addedBytes = 0

  /** `writtenBytes`: beside what was read, for small blocks that were written here. */
  constructor(maxBytes: number, writtenBytes: number) {
    this.#written = new WrittenBlocks(writtenBytes)
    this.maxBytes = Math.max(1, maxBytes)
    this.#blocks = new LRUCache({
      maxSize: this.maxBytes,
      sizeCalculation: sizeOf,
      dispose: (block, _id, reason) => {
        if (reason === 'evict') releaseAll(block)
      },
    })
  }

  get bytes(): number {
    return this.#blocks.calculatedSize
  }

  get(id: BlockId): CachedBlock | undefined {
    return this.#blocks.get(id) ?? this.#written.get(id)
  }

  /** Keeps a copy of a whole block that was written here, if it is small. */
  keep(id: BlockId, data: Uint8Array): void {
    this.#written.keep(id, data)
  }

  /** Adds verified pieces, which follow each other from `first` on, and holds them. */
  add(id: BlockId, first: number, pieces: readonly Piece[]): void {
    const block = this.#blocks.get(id) ?? { pieces: new Map<number, Piece>(), cost: 0 }
    for (const [index, piece] of pieces.entries()) {
      if (block.pieces.has(first + index)) continue
      piece.hold()
      block.pieces.set(first + index, piece)
      block.cost += piece.cost
      this.addedBytes += piece.cost
    }
    // Set again, so that its size is counted anew.
    this.#blocks.delete(id)
    if (sizeOf(block) > this.maxBytes) releaseAll(block)
    else this.#blocks.set(id, block)
  }
}

const sizeOf = (block: ReadBlock): number => block.cost + entryOverhead

function releaseAll(block: ReadBlock): void {
  for (const piece of block.pieces.values()) piece.release()
}
