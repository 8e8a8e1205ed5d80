import type { BlockKey } from '../../core/ids.ts'
import type { Replica } from '../store/replicas.ts'
import type { Store } from '../store/store.ts'

/** A block that is not in the store yet. */
export interface NewBlock {
  readonly id: Uint8Array
  readonly length: number
  /** What the id was made with. */
  readonly domain: Uint8Array
  /** On distinct nodes. */
  readonly replicas: readonly Replica[]
}

/**
 * References that an edit takes and gives, summed up: a block that is given up and taken again by
 * one command is never condemned in between, and each block's row is written once.
 */
export class References {
  readonly #deltas = new Map<BlockKey, number>()
  readonly #new = new Map<BlockKey, NewBlock>()

  change(block: BlockKey, delta: number): void {
    this.#deltas.set(block, (this.#deltas.get(block) ?? 0) + delta)
  }

  /** The key is of a block that this edit brings. */
  introduce(block: BlockKey, content: NewBlock): void {
    this.#new.set(block, content)
    this.change(block, 0)
  }

  /** Whether extents of the block may exist already, so that a new one may continue an old one. */
  mayContinue(block: BlockKey): boolean {
    return !this.#new.has(block) || this.#deltas.get(block) !== 0
  }

  /** Writes it all; `wanted` copies of what gained references. */
  apply(store: Store, wanted: number, time: bigint): void {
    for (const [key, delta] of this.#deltas) {
      const fresh = this.#new.get(key)
      if (fresh !== undefined) addBlock(store, key, fresh, delta, wanted, time)
      else if (delta !== 0) store.blocks.refer(key, delta, wanted, time)
    }
  }
}

function addBlock(
  store: Store,
  key: BlockKey,
  { id, length, domain, replicas }: NewBlock,
  refs: number,
  wanted: number,
  time: bigint,
): void {
  store.blocks.add({ key, id, length, domain, refs, wanted, have: replicas.length, since: time })
  store.replicas.recordNew(key, replicas)
}
