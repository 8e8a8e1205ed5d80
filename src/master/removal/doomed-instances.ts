import type { Generation } from '../../core/ids.ts'
import type { Node } from '../nodes/node-registry.ts'

interface Instance {
  readonly id: Buffer
  readonly generation: Generation
}

/** The order stands, or is not even told yet. */
const untold = undefined

const nameOf = (id: Buffer, generation: Generation): string => `${id.toString('hex')}/${generation}`

/**
 * Instances that are about to be deleted on a node, or were a moment ago. What the node says meanwhile may be
 * older than that: a listing on its way still has them, and to take them for copies would be to count on what is
 * gone. An instance is doomed until all changes are known that the node had made when it answered the order.
 *
 * In memory only, and forgotten with the connection: a node ends what it was told to delete before it attaches
 * again, and tells its changes first.
 */
export class DoomedInstances {
  readonly #byNode = new Map<Node, Map<string, bigint | typeof untold>>()

  add(node: Node, { id, generation }: Instance): void {
    let instances = this.#byNode.get(node)
    if (instances === undefined) {
      instances = new Map()
      this.#byNode.set(node, instances)
    }
    instances.set(nameOf(id, generation), untold)
  }

  has(node: Node, id: Buffer, generation: Generation): boolean {
    return this.#byNode.get(node)?.has(nameOf(id, generation)) ?? false
  }

  /** The node has done what it could of an order, as of its change `sequence`. */
  answered(node: Node, instances: readonly Instance[], sequence: bigint): void {
    const doomed = this.#byNode.get(node)
    if (doomed === undefined) return
    for (const { id, generation } of instances) doomed.set(nameOf(id, generation), sequence)
    this.changesKnown(node)
  }

  /** The node's changes are known as far as its row says. */
  changesKnown(node: Node): void {
    const doomed = this.#byNode.get(node)
    if (doomed === undefined) return
    for (const [name, sequence] of doomed)
      if (sequence !== untold && sequence <= node.row.knownSequence) doomed.delete(name)
    if (doomed.size === 0) this.#byNode.delete(node)
  }

  detached(node: Node): void {
    this.#byNode.delete(node)
  }
}
