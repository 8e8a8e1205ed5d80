import type { BlockId, Generation, NodeId } from '../../core/ids.ts'
import type { Store } from '../store/store.ts'

/**
 * Replica rows that a receipt made before the node's own change arrived. An inventory "as of" an
 * earlier change does not have them, and that is no loss. In memory only: after a restart of the
 * master a node sends the changes that the master does not know before it answers with a digest.
 */
export class Unconfirmed {
  readonly #store: Store
  readonly #byNode = new Map<NodeId, Map<BlockId, Generation>>()

  constructor(store: Store) {
    this.#store = store
  }

  /** A receipt became a replica row. */
  committed(node: NodeId, id: BlockId, bytes: Uint8Array, generation: Generation): void {
    // Its change came first, and made it a stray until now.
    if (this.#store.strays.settled(node, bytes, generation)) return
    let instances = this.#byNode.get(node)
    if (instances === undefined) {
      instances = new Map()
      this.#byNode.set(node, instances)
    }
    instances.set(id, generation)
  }

  /** The node's change arrived. */
  confirmed(node: NodeId, id: BlockId, generation: Generation): void {
    const instances = this.#byNode.get(node)
    const waiting = instances?.get(id)
    if (instances !== undefined && waiting !== undefined && waiting <= generation) instances.delete(id)
  }

  has(node: NodeId, id: BlockId): boolean {
    return this.#byNode.get(node)?.has(id) ?? false
  }
}
