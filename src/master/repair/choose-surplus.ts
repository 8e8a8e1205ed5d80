import type { NodeView } from '../placement/choose-nodes.ts'
import { type BlockView, type HolderView, spreadOf } from './plan-repair.ts'

/** What is known of a node whose copy may go. */
export interface SurplusNode extends NodeView {
  readonly usedShare: number
  /** Its inventory has been compared: what is said to be there is there. */
  readonly compared: boolean
}

/**
 * The copy of a block that may go, if one may: of a node that is being emptied first, else the one without which
 * the rest is on the most zones and hosts, then the fullest node's. Those that stay must be certain to be there.
 */
export function chooseSurplus<Node extends SurplusNode>(view: BlockView<Node>): Node | undefined {
  const good = view.holders.filter(({ up, bad }) => up && !bad)
  const staying = good.filter(({ stays }) => stays)
  const certain = (without: HolderView<Node> | undefined): boolean =>
    staying.filter(holder => holder !== without && holder.node.compared).length >= view.wanted
  const leaving = good.find(({ stays, failing }) => !stays && !failing)
  if (leaving !== undefined && certain(undefined)) return leaving.node
  const rest = (without: HolderView<Node>): readonly Node[] =>
    staying.filter(holder => holder !== without).map(({ node }) => node)
  const [victim] = [...staying].sort(
    (a, b) => spreadOf(rest(b)) - spreadOf(rest(a)) || b.node.usedShare - a.node.usedShare,
  )
  return victim !== undefined && certain(victim) ? victim.node : undefined
}
