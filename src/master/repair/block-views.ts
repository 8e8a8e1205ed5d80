import type { Turn } from '../engine/turn.ts'
import type { Node, NodeRegistry } from '../nodes/node-registry.ts'
import type { Block } from '../store/blocks.ts'
import type { CopyOrders } from './copy-orders.ts'
import type { BlockView, HolderView } from './plan-repair.ts'
import type { Suspects } from './suspects.ts'

/** What the tables, the nodes and the orders say of a block, together. */
export class BlockViews {
  readonly #turn: Turn
  readonly #nodes: NodeRegistry
  readonly #orders: CopyOrders
  readonly #suspects: Suspects

  constructor(turn: Turn, nodes: NodeRegistry, orders: CopyOrders, suspects: Suspects) {
    this.#turn = turn
    this.#nodes = nodes
    this.#orders = orders
    this.#suspects = suspects
  }

  of(block: Block): BlockView<Node> {
    const holders: HolderView<Node>[] = []
    for (const { node: id, generation } of this.#turn.store.replicas.of(block.key)) {
      const node = this.#nodes.find(id)
      if (node === undefined) continue
      holders.push({
        node,
        bad: this.#suspects.whyBad(block.key, id, generation) !== undefined,
        up: node.isUp,
        stays: this.#nodes.isExpected(node),
        failing: node.failingSinceMs !== undefined,
      })
    }
    const { key, length, wanted, domain } = block
    const suits = (node: Node): boolean => domain.length === 0 || node.knowsDomains
    return { key, length, wanted, holders, targets: this.#orders.targetsOf(key), suits }
  }
}
