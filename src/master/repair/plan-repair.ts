/**
 * Chooses copies to be made, makes none. Fewest live copies first: losing one more disk there would
 * lose data.
 */
import type { BlockKey, NodeId } from '../../core/ids.ts'
import { chooseNodes, type NodeView } from '../placement/choose-nodes.ts'

/** A block that may need another copy. */
export interface RepairView<Node extends NodeView> {
  readonly key: BlockKey
  readonly length: number
  readonly wanted: number
  /** Nodes with a good copy that can be read now. */
  readonly sources: readonly Node[]
  /** Nodes whose copy counts, or is being made: those of `sources`, and those that may be back soon. */
  readonly counted: readonly Node[]
  /** Nodes that hold a good instance, or will: none of them is a target. */
  readonly occupied: readonly NodeId[]
}

export interface Copy<Node extends NodeView> {
  readonly key: BlockKey
  readonly target: Node
  readonly sources: readonly Node[]
}

/** How many more copies a node may take part in. */
export type Slots = Map<NodeId, number>

export function planRepair<Node extends NodeView>(
  views: readonly RepairView<Node>[],
  targets: readonly Node[],
  slots: Slots,
  below: (bound: number) => number,
): Copy<Node>[] {
  const urgent = [...views].sort((a, b) => a.sources.length - b.sources.length)
  const copies: Copy<Node>[] = []
  for (const view of urgent) {
    const free = targets.filter(node => hasSlot(slots, node))
    const sources = view.sources.filter(node => hasSlot(slots, node))
    if (sources.length === 0) continue
    const missing = view.wanted - view.counted.length
    const wish = {
      length: view.length,
      copies: Math.max(0, missing),
      present: view.counted,
      exclude: new Set(view.occupied),
      host: undefined,
    }
    for (const target of chooseNodes(free, wish, below)) {
      const [source] = sources
      if (source === undefined || !hasSlot(slots, source)) break
      take(slots, target)
      take(slots, source)
      copies.push({ key: view.key, target, sources })
    }
  }
  return copies
}

const hasSlot = (slots: Slots, node: NodeView): boolean => (slots.get(node.id) ?? 0) > 0

const take = (slots: Slots, node: NodeView): void => {
  slots.set(node.id, (slots.get(node.id) ?? 0) - 1)
}
