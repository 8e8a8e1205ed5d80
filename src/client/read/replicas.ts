import type { Location } from '../../wire/gen/cairn/v1/common.ts'

/** Where the reader is; empty when unknown. */
export interface Place {
  readonly host: string
  readonly zone: string
}

export interface NodeView {
  readonly isSuspect: (node: bigint) => boolean
  /** Calls of ours under way to an address. */
  readonly load: (address: string) => number
  /** Its files are read from here, also where the master has not said on which machine it is. */
  readonly readsFiles: (address: string) => boolean
}

/** Load that outweighs being in the same zone, and on the same host. */
const zoneWorth = 4
const hostWorth = 16

/**
 * The copies in the order to try them: nodes that just failed last, then by nearness weighed against
 * what we have already asked of them. The order of the master breaks ties, turned by `salt`, so that
 * readers spread.
 */
export function orderReplicas(
  locations: readonly Location[],
  place: Place,
  nodes: NodeView,
  salt = 0,
): Location[] {
  const cost = (location: Location): number => {
    const sameHost = (place.host !== '' && location.host === place.host) || nodes.readsFiles(location.address)
    const sameZone = place.zone !== '' && location.zone === place.zone
    const far = sameHost ? 0 : sameZone ? hostWorth : hostWorth + zoneWorth
    return far + nodes.load(location.address) + (nodes.isSuspect(location.node) ? 1_000_000 : 0)
  }
  const count = locations.length
  return locations
    .map((location, index) => ({ location, cost: cost(location), index: (index + salt) % count }))
    .sort((a, b) => a.cost - b.cost || a.index - b.index)
    .map(({ location }) => location)
}
