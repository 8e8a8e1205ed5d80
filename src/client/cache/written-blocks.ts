import type { BlockId } from '../../core/ids.ts'
import { pieceBytes } from '../../core/limits.ts'
import { KiB } from '../../core/units.ts'
import type { Piece } from './pieces.ts'

/** Of the ring, for one block. */
const largestShare = 1 / 4
/** Beside its bytes, a block takes some 350 of the heap: there is one for each so many bytes of the ring, at most. */
const bytesPerBlock = 1 * KiB

/** A whole block of one piece, in the ring. */
class WrittenBlock implements Piece {
  readonly bytes: Uint8Array
  readonly offset: number
  #holders = 0

  constructor(bytes: Uint8Array, offset: number) {
    this.bytes = bytes
    this.offset = offset
  }

  get cost(): number {
    return this.bytes.length
  }

  get isHeld(): boolean {
    return this.#holders > 0
  }

  hold(): void {
    this.#holders++
  }

  release(): void {
    this.#holders--
  }

  get(index: number): Piece | undefined {
    return index === 0 ? this : undefined
  }

  has(index: number): boolean {
    return index === 0
  }

  get pieces(): this {
    return this
  }
}

/**
 * Small blocks that were written here lately, as they were stored: whoever writes small files often reads them soon. In
 * a ring of memory that is allocated once, since small buffers that come and go scatter what a process has; the oldest
 * go first.
 */
export class WrittenBlocks {
  readonly #maxBytes: number
  readonly #maxBlocks: number
  #memory: Uint8Array<ArrayBuffer> | undefined
  /** Oldest first, which is the order around the ring from `#at` on. */
  readonly #blocks = new Map<BlockId, WrittenBlock>()
  #at = 0

  constructor(maxBytes: number, maxBlocks = maxBytes / bytesPerBlock) {
    this.#maxBytes = maxBytes
    this.#maxBlocks = maxBlocks
  }

  get(id: BlockId): WrittenBlock | undefined {
    return this.#blocks.get(id)
  }

  /** Keeps a copy, if it is one piece, and the place for it is not being looked at. */
  keep(id: BlockId, data: Uint8Array): void {
    const { length } = data
    if (length === 0 || length > pieceBytes || length > this.#maxBytes * largestShare) return
    if (this.#blocks.has(id)) return
    const wraps = this.#at + length > this.#maxBytes
    const offset = wraps ? 0 : this.#at
    for (const [oldest, block] of this.#blocks) {
      const isOneTooMany = this.#blocks.size >= this.#maxBlocks
      const isLeftBehind = wraps && block.offset >= this.#at
      const isInTheWay = block.offset < offset + length && block.offset + block.cost > offset
      if (!isLeftBehind && !isInTheWay && !isOneTooMany) break
      if (block.isHeld) return
      this.#blocks.delete(oldest)
    }
    this.#memory ??= new Uint8Array(this.#maxBytes)
    const bytes = this.#memory.subarray(offset, offset + length)
    bytes.set(data)
    this.#blocks.set(id, new WrittenBlock(bytes, offset))
    this.#at = offset + length
  }
}
