/**
 * Decides what a block needs and chooses copies to be made, makes none. The most urgent first: losing one more
 * disk there would lose data.
 */
import type { BlockKey, NodeId } from '../../core/ids.ts'
import { chooseNodes, type NodeView } from '../placement/choose-nodes.ts'
import type { CopyBudget } from './copy-budget.ts'

/**
 *   lost       no good copy can be read now: bad ones are tried
 *   last       one good copy is left, and more are wanted
 *   leaving    all good copies are on nodes that are being emptied, or whose disks fail
 *   short      fewer copies than wanted
 *   surplus    more copies than wanted, or all that are wanted beside those on nodes that are being emptied
 *   misplaced  copies share a zone or a host, and need not
 */
export const repairClasses = ['lost', 'last', 'leaving', 'short', 'surplus', 'misplaced'] as const
export type RepairClass = (typeof repairClasses)[number]

export interface HolderView<Node extends NodeView> {
  readonly node: Node
  readonly bad: boolean
  readonly up: boolean
  /** It keeps what it has: it is not being emptied, and it is there or expected back. */
  readonly stays: boolean
  /** Its disk takes no orders. */
  readonly failing: boolean
}

export interface BlockView<Node extends NodeView> {
  readonly key: BlockKey
  readonly length: number
  readonly wanted: number
  readonly holders: readonly HolderView<Node>[]
  /** Nodes to which a copy is under way. */
  readonly targets: readonly Node[]
  /** Whether the program of a node can keep it. */
  suits(node: Node): boolean
}

const nodesOf = <Node extends NodeView>(
  { holders }: BlockView<Node>,
  which: (holder: HolderView<Node>) => boolean,
): Node[] => holders.filter(which).map(({ node }) => node)

/** Nodes with a good copy that can be read now. */
export const liveOf = <Node extends NodeView>(view: BlockView<Node>): Node[] =>
  nodesOf(view, ({ up, bad }) => up && !bad)

/** Nodes whose copy counts in the long run, or that are getting one. */
export const countedOf = <Node extends NodeView>(view: BlockView<Node>): Node[] => [
  ...new Set([...nodesOf(view, ({ stays, bad }) => stays && !bad), ...view.targets]),
]

/** What the block needs most; `couldSpread`: whether a node would take it that is farther away. */
export function classify<Node extends NodeView>(
  view: BlockView<Node>,
  couldSpread: (view: BlockView<Node>) => boolean,
): RepairClass | undefined {
  const { wanted, holders } = view
  const live = liveOf(view)
  const counted = countedOf(view).length
  if (counted < wanted) {
    if (live.length === 0) return holders.some(({ up }) => up) ? 'lost' : undefined
    if (live.length === 1 && wanted > 1) return 'last'
    return nodesOf(view, ({ up, bad, stays }) => up && !bad && stays).length === 0 ? 'leaving' : 'short'
  }
  const staying = nodesOf(view, ({ up, bad, stays }) => up && !bad && stays).length
  const idle = holders.some(({ up, bad, stays, failing }) => up && !failing && (bad || !stays))
  if (staying > wanted || (staying === wanted && idle)) return 'surplus'
  return couldSpread(view) ? 'misplaced' : undefined
}

/** Whether one of `nodes` would keep the copies on more zones or hosts than they are on. */
export function wouldSpread<Node extends NodeView>(view: BlockView<Node>, nodes: readonly Node[]): Node[] {
  const counted = countedOf(view)
  if (counted.length < 2) return []
  const now = spreadOf(counted)
  const others = counted.map(node => counted.filter(other => other !== node))
  return nodes.filter(
    node =>
      node.freeBytes >= view.length &&
      view.suits(node) &&
      !view.holders.some(holder => holder.node === node) &&
      others.some(rest => spreadOf([...rest, node]) > now),
  )
}

/** Zones count first, then hosts. */
export const spreadOf = (nodes: readonly NodeView[]): number =>
  new Set(nodes.map(node => node.zone)).size * 1000 + new Set(nodes.map(node => node.host)).size

export interface Copy<Node extends NodeView> {
  readonly key: BlockKey
  readonly length: number
  readonly target: Node
  /** The least busy first. */
  readonly sources: readonly Node[]
}

export interface CopyNeed<Node extends NodeView> {
  readonly view: BlockView<Node>
  readonly class: RepairClass
}

/** The copies to begin now, within the budget, which they are taken from. */
export function planRepair<Node extends NodeView>(
  needs: readonly CopyNeed<Node>[],
  targets: readonly Node[],
  budget: CopyBudget,
  below: (bound: number) => number,
): Copy<Node>[] {
  const rank = (need: CopyNeed<Node>): number =>
    repairClasses.indexOf(need.class) * 100 + liveOf(need.view).length
  const copies: Copy<Node>[] = []
  for (const need of [...needs].sort((a, b) => rank(a) - rank(b))) {
    if (budget.isEmpty) break
    copies.push(...planBlock(need, targets, budget, below))
  }
  return copies
}

function planBlock<Node extends NodeView>(
  { view, class: cls }: CopyNeed<Node>,
  targets: readonly Node[],
  budget: CopyBudget,
  below: (bound: number) => number,
): Copy<Node>[] {
  const { key, length, wanted } = view
  const counted = countedOf(view)
  const readable = cls === 'lost' ? nodesOf(view, ({ up }) => up) : liveOf(view)
  const misplaced = cls === 'misplaced'
  const eligible = (misplaced ? wouldSpread(view, targets) : targets).filter(
    // With one readable copy there is no copying onto itself.
    node => budget.of(node.id) > 0 && view.suits(node) && !(readable.length === 1 && readable[0] === node),
  )
  const wish = {
    length,
    copies: misplaced ? 1 : Math.max(0, wanted - counted.length),
    present: misplaced ? counted.slice(1) : counted,
    exclude: new Set([...nodesOf(view, ({ bad }) => !bad), ...view.targets].map(({ id }): NodeId => id)),
    host: undefined,
  }
  const copies: Copy<Node>[] = []
  for (const target of chooseNodes(eligible, wish, below)) {
    const sources = readable.filter(node => node !== target).sort((a, b) => budget.of(b.id) - budget.of(a.id))
    const [source] = sources
    if (source === undefined || budget.of(source.id) <= 0 || budget.of(target.id) <= 0) break
    budget.take(length, target.id, source.id)
    copies.push({ key, length, target, sources })
  }
  return copies
}
