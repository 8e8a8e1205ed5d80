/**
 * Moves blocks from full nodes to empty ones, on an operator's word, when nothing is to be repaired. A move is a
 * copy too many: the repair's rule of what goes (the fullest node's) ends it.
 */
import type { Turn } from '../engine/turn.ts'
import type { Node, NodeRegistry } from '../nodes/node-registry.ts'
import { blockState } from '../store/blocks.ts'
import type { BlockViews } from './block-views.ts'
import type { CopyBudget } from './copy-budget.ts'
import type { CopyOrders } from './copy-orders.ts'
import { type BalancePlan, moveTarget, planRebalance } from './plan-rebalance.ts'
import { liveOf } from './plan-repair.ts'
import { RateMeter } from './rate-meter.ts'

/** Rows of a node that are looked at in one step. */
const rowsPerStep = 200
const stepMs = 250

export class Rebalance {
  readonly #turn: Turn
  readonly #nodes: NodeRegistry
  readonly #orders: CopyOrders
  readonly #views: BlockViews
  readonly #meter = new RateMeter()
  readonly #cursors = new Map<Node, bigint>()
  #moving = false
  #nextMs = 0

  constructor(turn: Turn, nodes: NodeRegistry, orders: CopyOrders, views: BlockViews) {
    this.#turn = turn
    this.#nodes = nodes
    this.#orders = orders
    this.#views = views
  }

  get isOn(): boolean {
    return this.#turn.store.switches.isOn('rebalance')
  }

  set isOn(on: boolean) {
    this.#turn.store.switches.set('rebalance', on)
    this.#moving = on
  }

  get perSecond(): number {
    return this.#meter.perSecond(this.#turn.now)
  }

  moved(bytes: number): void {
    this.#meter.add(this.#turn.now, bytes)
  }

  /** The nodes that take part, and what is to be moved. */
  get plan(): BalancePlan<Node> & { readonly nodes: readonly Node[] } {
    const nodes = this.#nodes.accepting()
    return { nodes, ...planRebalance(nodes, this.#moving) }
  }

  step(): void {
    if (this.#turn.now < this.#nextMs) return
    this.#nextMs = this.#turn.now + stepMs
    if (!this.isOn) return
    const { from, to } = this.plan
    if (from.length === 0 && this.#orders.size === 0) {
      this.#turn.out.log('info', 'the nodes are balanced', {})
      this.isOn = false
      return
    }
    this.#moving = true
    const budget = this.#orders.budget(true)
    for (const source of from) {
      if (budget.isEmpty) return
      this.#moveFrom(source, to, budget)
    }
  }

  #moveFrom(source: Node, to: readonly Node[], budget: CopyBudget): void {
    const { store } = this.#turn
    const rows = store.replicas.ofNode(source.id, this.#cursors.get(source) ?? 0n, rowsPerStep)
    for (const { block: key } of rows) {
      if (budget.isEmpty || budget.of(source.id) <= 0) return
      this.#cursors.set(source, key)
      const block = store.blocks.byKey(key)
      if (block?.state !== blockState.live) continue
      const view = this.#views.of(block)
      const target = moveTarget(
        view,
        source,
        to.filter(node => budget.of(node.id) > 0),
      )
      if (target === undefined || liveOf(view).length < block.wanted) continue
      budget.take(block.length, target.id, source.id)
      const sources = [source, ...liveOf(view).filter(node => node !== source)]
      this.#orders.issue([{ key, length: block.length, target, sources, purpose: 'balance' }])
    }
    if (rows.length < rowsPerStep) this.#cursors.delete(source)
  }
}
