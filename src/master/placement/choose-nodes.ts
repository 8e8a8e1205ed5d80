/**
 * Where the copies of a block go. Pure but for the random numbers that it is given: nodes are drawn
 * with a weight of their free space, so that they fill evenly.
 */
import type { NodeId } from '../../core/ids.ts'

/** What placement knows of a node. */
export interface NodeView {
  readonly id: NodeId
  readonly host: string
  readonly zone: string
  /** Bytes that may still be put there: capacity less use, less the reserve that keeps a full node working. */
  readonly freeBytes: number
}

export interface PlacementWish {
  /** Bytes of one copy. */
  readonly length: number
  /** Copies to be placed. */
  readonly copies: number
  /** Nodes that have a copy already: not chosen again, and their hosts and zones are avoided. */
  readonly present: readonly NodeView[]
  readonly exclude: ReadonlySet<NodeId>
  /** A copy here is preferred (the writer's own host). */
  readonly host: string | undefined
}

/**
 * Up to `copies` nodes, best first. Each is taken from a new zone while there is one with room, else
 * from a new host, else (a cluster with fewer hosts than copies) from a host that has a copy already.
 */
export function chooseNodes<View extends NodeView>(
  nodes: readonly View[],
  wish: PlacementWish,
  below: (bound: number) => number,
): View[] {
  const chosen: View[] = []
  const taken: NodeView[] = [...wish.present]
  while (chosen.length < wish.copies) {
    const free = nodes.filter(
      node =>
        node.freeBytes >= wish.length &&
        !wish.exclude.has(node.id) &&
        !taken.some(other => other.id === node.id),
    )
    const node = draw(preferred(free, taken, wish.host), below)
    if (node === undefined) break
    chosen.push(node)
    taken.push(node)
  }
  return chosen
}

function preferred<View extends NodeView>(
  free: readonly View[],
  taken: readonly NodeView[],
  host: string | undefined,
): readonly View[] {
  const own = taken.some(other => other.host === host) ? [] : free.filter(node => node.host === host)
  if (own.length > 0) return own
  const hosts = free.filter(node => !taken.some(other => other.host === node.host))
  const zones = hosts.filter(node => !taken.some(other => other.zone === node.zone))
  if (zones.length > 0) return zones
  return hosts.length > 0 ? hosts : free
}

function draw<View extends NodeView>(
  candidates: readonly View[],
  below: (bound: number) => number,
): View | undefined {
  if (candidates.length < 2) return candidates[0]
  // In MiB, so that the sum stays within what `below` can draw from.
  const weights = candidates.map(node => Math.ceil(node.freeBytes / 2 ** 20) + 1)
  let left = below(weights.reduce((sum, weight) => sum + weight, 0))
  for (const [index, weight] of weights.entries()) {
    if (left < weight) return candidates[index]
    left -= weight
  }
  return candidates[0]
}
