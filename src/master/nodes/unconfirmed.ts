import type { BlockId, Generation } from '../../core/ids.ts'
import type { Store } from '../store/store.ts'
import type { Node } from './node-registry.ts'

interface Instance {
  readonly generation: Generation
  readonly length: number
}

/**
 * Replica rows that a receipt made before the node's own change arrived. An inventory "as of" an
 * earlier change does not have them, and that is no loss. In memory only: after a restart of the
 * master a node sends the changes that the master does not know before it answers with a digest.
 */
export class Unconfirmed {
  readonly #store: Store
  readonly #byNode = new Map<Node, Map<BlockId, Instance>>()

  constructor(store: Store) {
    this.#store = store
  }

  /** A receipt became a replica row. */
  committed(node: Node, id: BlockId, bytes: Uint8Array, generation: Generation, length: number): void {
    // Its change came first, and made it a stray until now.
    if (this.#store.strays.settled(node.id, bytes, generation)) {
      node.recentBytes += length
      return
    }
    let instances = this.#byNode.get(node)
    if (instances === undefined) {
      instances = new Map()
      this.#byNode.set(node, instances)
    }
    // A node keeps one instance of a block.
    node.unconfirmedBytes += length - (instances.get(id)?.length ?? 0)
    instances.set(id, { generation, length })
  }

  /** The node's change arrived. */
  confirmed(node: Node, id: BlockId, generation: Generation): void {
    const instances = this.#byNode.get(node)
    const waiting = instances?.get(id)
    if (instances === undefined || waiting === undefined || waiting.generation > generation) return
    instances.delete(id)
    // None are left of what was committed before the node registered.
    const counted = Math.min(waiting.length, node.unconfirmedBytes)
    node.unconfirmedBytes -= counted
    node.recentBytes += counted
  }

  has(node: Node, id: BlockId): boolean {
    return this.#byNode.get(node)?.has(id) ?? false
  }
}
