import type { NodeId } from '../../core/ids.ts'
import { KiB } from '../../core/units.ts'

/** What a small copy costs: it is its round trips and its share of a sync that count. */
export const copyBytesMin = 32 * KiB

export const copyCost = (length: number): number => Math.max(length, copyBytesMin)

/** How many more bytes of copies each node, and the cluster, may have under way. A node may go over it by one block. */
export class CopyBudget {
  readonly #left: Map<NodeId, number>
  #cluster: number

  constructor(left: ReadonlyMap<NodeId, number>, cluster: number) {
    this.#left = new Map(left)
    this.#cluster = cluster
  }

  of(node: NodeId): number {
    return this.#cluster <= 0 ? 0 : (this.#left.get(node) ?? 0)
  }

  get isEmpty(): boolean {
    return this.#cluster <= 0 || ![...this.#left.values()].some(left => left > 0)
  }

  take(length: number, ...nodes: readonly NodeId[]): void {
    const cost = copyCost(length)
    this.#cluster -= cost
    for (const node of nodes) this.#left.set(node, (this.#left.get(node) ?? 0) - cost)
  }
}
