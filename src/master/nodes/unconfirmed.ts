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
  /** Of nodes that registered since: all that was stored before is told by this change of theirs, or is lost. */
  readonly #before = new Map<
    Node,
    { readonly sequence: bigint; readonly instances: Map<BlockId, Instance> }
  >()

  constructor(store: Store) {
    this.#store = store
  }

  /** A receipt became a replica row; `told`: the node's change had made one before. */
  committed(
    node: Node,
    id: BlockId,
    bytes: Uint8Array,
    { generation, length }: Instance,
    told: boolean,
  ): void {
    // Its change came first, and made it a stray until now, or a copy.
    if (this.#store.strays.settled(node.id, bytes, generation) || told) {
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
    node.unconfirmedBytes -= waiting.length
    node.recentBytes += waiting.length
  }

  /** The node has attached, and its last change is `sequence`; its disk may have been put back to an older state. */
  attached(node: Node, sequence: bigint): void {
    const instances = new Map([
      ...(this.#before.get(node)?.instances ?? []),
      ...(this.#byNode.get(node) ?? []),
    ])
    this.#byNode.delete(node)
    this.#before.set(node, { sequence, instances })
    this.changesKnown(node)
  }

  /** The node's changes are known as far as its row says. */
  changesKnown(node: Node): void {
    const before = this.#before.get(node)
    if (before !== undefined && node.row.knownSequence >= before.sequence) this.#before.delete(node)
  }

  has(node: Node, id: BlockId): boolean {
    return (this.#byNode.get(node)?.has(id) ?? false) || (this.#before.get(node)?.instances.has(id) ?? false)
  }
}
