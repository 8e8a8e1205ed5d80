/**
 * Copies that were found bad, by their nodes, by readers or by repairs. They do not count, but stay until the
 * block has all its copies without them, since parts of them may be the only good ones, and are remembered until their
 * node has deleted them: one that comes back before it has shows them again. Kept in the database; held in memory, as
 * there are few of them.
 *
 * Bad is what somebody said. When no other copy is left, repair reads the bad ones once more now and then: a
 * copy that proves right by its SHA-256 heals the block.
 */
import type { BlockKey, Generation, NodeId } from '../../core/ids.ts'
import type { BadCopy } from '../store/bad-copies.ts'
import type { Store } from '../store/store.ts'

/** Most blocks with bad copies that are remembered; others are reported again. */
const blocksMax = 100_000

export class Suspects {
  readonly #store: Store
  readonly #byBlock = new Map<BlockKey, Map<NodeId, BadCopy>>()

  constructor(store: Store) {
    this.#store = store
    for (const copy of store.badCopies.all()) this.#keep(copy)
  }

  /** False if it was known, or is one too many. */
  add(copy: BadCopy): boolean {
    const known = this.#byBlock.get(copy.block)
    if (known?.get(copy.node)?.generation === copy.generation) return false
    if (known === undefined && this.#byBlock.size >= blocksMax) return false
    this.#store.badCopies.found(copy)
    this.#keep(copy)
    return true
  }

  has(block: BlockKey): boolean {
    return this.#byBlock.has(block)
  }

  /** What is wrong with the copy that a node has; undefined when nothing is known to be. */
  whyBad(block: BlockKey, node: NodeId, generation: Generation): string | undefined {
    const copy = this.#byBlock.get(block)?.get(node)
    return copy?.generation === generation ? copy.what : undefined
  }

  /** As whyBad, of the copy that the node has now. */
  isBad(block: BlockKey, node: NodeId): boolean {
    const copy = this.#byBlock.get(block)?.get(node)
    return copy !== undefined && this.#store.replicas.generationOn(block, node) === copy.generation
  }

  /** The bad copies of a block that are remembered. */
  of(block: BlockKey): readonly BadCopy[] {
    return [...(this.#byBlock.get(block)?.values() ?? [])]
  }

  /** Blocks with bad copies. */
  blocks(): IterableIterator<BlockKey> {
    return this.#byBlock.keys()
  }

  /** The block is gone. */
  settled(block: BlockKey): void {
    if (this.#byBlock.delete(block)) this.#store.badCopies.settled(block)
  }

  /** What these nodes have of the block is not what was bad, or is there no more. */
  gone(block: BlockKey, nodes: Iterable<NodeId>): void {
    const copies = this.#byBlock.get(block)
    if (copies === undefined) return
    for (const node of nodes) if (copies.delete(node)) this.#store.badCopies.gone(block, node)
    if (copies.size === 0) this.#byBlock.delete(block)
  }

  nodeRemoved(node: NodeId): void {
    this.#store.badCopies.nodeRemoved(node)
    for (const [block, copies] of this.#byBlock)
      if (copies.delete(node) && copies.size === 0) this.#byBlock.delete(block)
  }

  #keep(copy: BadCopy): void {
    const copies = this.#byBlock.get(copy.block)
    if (copies === undefined) this.#byBlock.set(copy.block, new Map([[copy.node, copy]]))
    else copies.set(copy.node, copy)
  }
}
