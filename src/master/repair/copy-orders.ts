/** Copies that nodes were ordered to make and have not answered. In memory only: what is short is found again. */
import type { BlockKey, Generation, NodeId } from '../../core/ids.ts'
import type { CopyOrder as WireOrder } from '../../wire/gen/cairn/v1/nodes.ts'
import type { Turn } from '../engine/turn.ts'
import type { Node, NodeRegistry } from '../nodes/node-registry.ts'
import { locationOf, type Planner } from '../placement/planner.ts'
import { CopyBudget, copyCost } from './copy-budget.ts'
import type { Copy, RepairClass } from './plan-repair.ts'

export type CopyPurpose = RepairClass | 'balance'

export interface CopyOrder {
  readonly id: bigint
  readonly key: BlockKey
  readonly length: number
  readonly target: Node
  readonly sources: readonly Node[]
  readonly purpose: CopyPurpose
  readonly untilMs: number
}

/** A block whose copy failed is left alone for so long, doubled with each failure. */
const backoffMinMs = 10_000
const backoffMaxMs = 600_000

export class CopyOrders {
  readonly #turn: Turn
  readonly #nodes: NodeRegistry
  readonly #planner: Planner
  readonly #orders = new Map<bigint, CopyOrder>()
  readonly #byBlock = new Map<BlockKey, CopyOrder[]>()
  readonly #backoff = new Map<BlockKey, { readonly untilMs: number; readonly ms: number }>()

  constructor(turn: Turn, nodes: NodeRegistry, planner: Planner) {
    this.#turn = turn
    this.#nodes = nodes
    this.#planner = planner
  }

  get size(): number {
    return this.#orders.size
  }

  get bytes(): number {
    let sum = 0
    for (const { length } of this.#orders.values()) sum += length
    return sum
  }

  find(id: bigint): CopyOrder | undefined {
    return this.#orders.get(id)
  }

  /** Nodes to which a copy of the block is under way. */
  targetsOf(key: BlockKey): Node[] {
    return (this.#byBlock.get(key) ?? []).map(({ target }) => target)
  }

  /** What may be begun now; `balancing`: only for that. */
  budget(balancing: boolean): CopyBudget {
    const { copyBytesPerNode, copyBytesPerCluster, balanceBytesPerCluster } = this.#turn.settings
    const left = new Map<NodeId, number>()
    for (const node of this.#nodes.all()) if (node.isUp) left.set(node.id, copyBytesPerNode)
    let cluster = balancing ? balanceBytesPerCluster : copyBytesPerCluster
    for (const { target, sources, length } of this.#orders.values()) {
      cluster -= copyCost(length)
      for (const node of [target, sources[0]])
        if (node !== undefined) left.set(node.id, (left.get(node.id) ?? 0) - copyCost(length))
    }
    return new CopyBudget(left, cluster)
  }

  /** Tells the nodes: one message to each. */
  issue(copies: readonly (Copy<Node> & { readonly purpose: CopyPurpose })[]): void {
    const byTarget = new Map<Node, WireOrder[]>()
    for (const copy of copies) {
      const { store, now, settings } = this.#turn
      const block = store.blocks.byKey(copy.key)
      if (block === undefined || copy.target.connection === undefined) continue
      const generation = store.counters.issue('generation') as Generation
      const id = store.counters.issue('order')
      const order: CopyOrder = { ...copy, id, untilMs: now + settings.copyMs }
      this.#orders.set(id, order)
      count(order, 1)
      this.#byBlock.set(copy.key, [...(this.#byBlock.get(copy.key) ?? []), order])
      const orders = byTarget.get(copy.target) ?? []
      byTarget.set(copy.target, orders)
      orders.push({
        order: id,
        id: block.id,
        length: block.length,
        grant: this.#planner.grant(copy.target, block, generation),
        sources: copy.sources.map(locationOf),
      })
    }
    for (const [{ connection }, orders] of byTarget)
      if (connection !== undefined) this.#turn.out.node(connection, { $case: 'copy', value: { orders } })
  }

  end(order: CopyOrder): void {
    if (this.#orders.delete(order.id)) count(order, -1)
    const rest = (this.#byBlock.get(order.key) ?? []).filter(other => other !== order)
    if (rest.length === 0) this.#byBlock.delete(order.key)
    else this.#byBlock.set(order.key, rest)
  }

  /** Orders of which nothing is to be heard any more: of a node that is gone, or that took too long. */
  hopeless(gone?: Node): CopyOrder[] {
    return [...this.#orders.values()].filter(order =>
      gone === undefined ? order.untilMs < this.#turn.now : order.target === gone,
    )
  }

  failed(key: BlockKey): void {
    const ms = Math.min(backoffMaxMs, (this.#backoff.get(key)?.ms ?? backoffMinMs / 2) * 2)
    this.#backoff.set(key, { untilMs: this.#turn.now + ms, ms })
  }

  succeeded(key: BlockKey): void {
    this.#backoff.delete(key)
  }

  /** Its last copy failed a short while ago. */
  isResting(key: BlockKey): boolean {
    return (this.#backoff.get(key)?.untilMs ?? 0) > this.#turn.now
  }

  /** Forgets failures of long ago. */
  tidy(): void {
    const old = this.#turn.now - backoffMaxMs
    for (const [key, { untilMs }] of this.#backoff) if (untilMs < old) this.#backoff.delete(key)
  }
}

/** What is on its way counts as if it had arrived: a node is not filled beyond its end, nor emptied twice. */
function count({ target, sources, length, purpose }: CopyOrder, by: 1 | -1): void {
  target.promisedBytes += by * length
  if (purpose === 'balance' && sources[0] !== undefined) sources[0].leavingBytes += by * length
}
