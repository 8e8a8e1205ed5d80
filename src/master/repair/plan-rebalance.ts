/** Decides between which nodes blocks move, so that all have about the same part of their disks in use. Pure. */
import type { NodeView } from '../placement/choose-nodes.ts'
import { type BlockView, countedOf, spreadOf } from './plan-repair.ts'

export interface BalanceNode extends NodeView {
  readonly usedShare: number
  readonly totalBytes: number
}

/** Nodes within this of the mean are left alone; moving begins when one is farther away. */
export const tolerance = 0.02
const beginsAt = 0.05

export interface BalancePlan<Node extends BalanceNode> {
  /** Fullest first. */
  readonly from: readonly Node[]
  readonly to: readonly Node[]
  readonly bytesLeft: number
}

/** `moving`: blocks are being moved already. */
export function planRebalance<Node extends BalanceNode>(
  nodes: readonly Node[],
  moving: boolean,
): BalancePlan<Node> {
  const total = nodes.reduce((sum, node) => sum + node.totalBytes, 0)
  const used = nodes.reduce((sum, node) => sum + node.usedShare * node.totalBytes, 0)
  const mean = total === 0 ? 0 : used / total
  const off = Math.max(0, ...nodes.map(node => Math.abs(node.usedShare - mean)))
  if (nodes.length < 2 || off < (moving ? tolerance : beginsAt)) return { from: [], to: [], bytesLeft: 0 }
  const from = nodes.filter(node => node.usedShare > mean).sort((a, b) => b.usedShare - a.usedShare)
  const to = nodes.filter(node => node.usedShare < mean).sort((a, b) => a.usedShare - b.usedShare)
  const bytesLeft = from.reduce((sum, node) => sum + (node.usedShare - mean) * node.totalBytes, 0)
  return { from, to, bytesLeft: Math.round(bytesLeft) }
}

/** Where a block may move from `from`: to a node without it, so that its copies are spread no less than before. */
export function moveTarget<Node extends BalanceNode>(
  view: BlockView<Node>,
  from: Node,
  to: readonly Node[],
): Node | undefined {
  const counted = countedOf(view)
  if (view.targets.length > 0 || counted.length !== view.wanted || !counted.includes(from)) return undefined
  const rest = counted.filter(node => node !== from)
  return to.find(
    node =>
      node.freeBytes >= view.length &&
      view.suits(node) &&
      !view.holders.some(holder => holder.node === node) &&
      spreadOf([...rest, node]) >= spreadOf(counted) &&
      node.usedShare + view.length / Math.max(1, node.totalBytes) < from.usedShare,
  )
}
