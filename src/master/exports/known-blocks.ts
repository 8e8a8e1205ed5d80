import type { BlockKey } from '../../core/ids.ts'

/** Twice as many at most are remembered. */
const knownMax = 20_000
/** Of no block. */
const noKey = 2n ** 63n - 1n

/**
 * Blocks that a session of an export was shown by a file, or has stored: of these alone it is told where they are, and
 * that they need not be sent. What is forgotten is asked for by its file again, or sent again.
 *
 * Keys are given to blocks in order, so that the key of one that was stored before would tell that it was: what the session
 * commits by it calls by names of its own.
 */
export class KnownBlocks {
  #young = new Set<BlockKey>()
  #old = new Set<BlockKey>()
  #youngNames = new Map<bigint, BlockKey>()
  #oldNames = new Map<bigint, BlockKey>()
  #nextName: bigint

  /** `firstName`: random, so that a name of before a restart means nothing. */
  constructor(firstName: bigint) {
    this.#nextName = firstName
  }

  add(key: BlockKey): void {
    this.#young.add(key)
    if (this.#young.size < knownMax) return
    this.#old = this.#young
    this.#young = new Set()
  }

  has(key: BlockKey): boolean {
    return this.#young.has(key) || this.#old.has(key)
  }

  /** What the session calls a block that was pinned for it. */
  nameOf(key: BlockKey): bigint {
    const name = this.#nextName++
    this.#youngNames.set(name, key)
    if (this.#youngNames.size >= knownMax) {
      this.#oldNames = this.#youngNames
      this.#youngNames = new Map()
    }
    return name
  }

  /** The key of a block that is there, or one of none. */
  keyOf(name: bigint): bigint {
    return this.#youngNames.get(name) ?? this.#oldNames.get(name) ?? noKey
  }
}
