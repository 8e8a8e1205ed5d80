import { second } from '../../core/units.ts'
import type { PlantedBugs } from '../cluster/options.ts'
import { Prng } from '../world/prng.ts'

/** What a seed decides beforehand. */
export interface Plan {
  readonly seed: number
  readonly nodes: number
  readonly copies: number
  readonly minCopies: number
  readonly mounts: number
  /** Programs on each mount. */
  readonly programs: number
  /** Without faults every answer must be right. */
  readonly calmMs: number
  readonly faultMs: number
  /** Milliseconds between two faults, at most. */
  readonly faultEveryMs: number
  /** The node whose disk rots and may be put back to an older state; undefined when all disks keep what they have. */
  readonly frail: number | undefined
  readonly bugs: PlantedBugs
  /** Programs work on the same few files, and every history is checked; else each in a directory of its own. */
  readonly shared: boolean
  /** The master keeps its log on chunkservers; at last its disk is lost. */
  readonly disaster: boolean
  /** The fault that strikes most of the time; undefined: all alike. */
  readonly focus: Focus | undefined
}

/**
 *   crowded   the disk of the master fills up and has room again
 *   rotten    bits flip
 *   lonely    but one chunkserver can be reached, and then loses its disk
 *   away      mounts stop, or are cut off, for longer than a lease
 */
export const focuses = ['crowded', 'rotten', 'lonely', 'away'] as const
export type Focus = (typeof focuses)[number]

export interface PlanOptions {
  readonly disaster?: boolean
  readonly bugs?: PlantedBugs
  readonly mounts?: number
  readonly shared?: boolean
  readonly focus?: Focus | undefined
}

export function planOf(seed: number, options: PlanOptions = {}): Plan {
  return options.shared === true ? sharedPlan(seed, options) : ownPlan(seed, options)
}

function sharedPlan(seed: number, { bugs = {}, mounts, focus }: PlanOptions): Plan {
  const prng = new Prng(seed ^ 0x5eed)
  const picked = prng.pick([2, 2, 2, 3, 4])
  const quiet = prng.chance(0.15) && focus === undefined
  return {
    seed,
    nodes: 2,
    copies: 2,
    minCopies: 1,
    mounts: mounts ?? picked,
    programs: prng.pick([1, 2, 2, 3]),
    calmMs: prng.between(0.5, 1.5) * second,
    faultMs: quiet ? 0 : prng.between(8, 16) * second,
    faultEveryMs: prng.pick([1500, 3000, 6000]),
    frail: undefined,
    bugs,
    shared: true,
    disaster: false,
    focus,
  }
}

function ownPlan(seed: number, { bugs = {}, mounts = 1, disaster = false, focus }: PlanOptions): Plan {
  const prng = new Prng(seed ^ 0x5eed)
  const nodes = prng.pick([3, 3, 3, 4, 5])
  const copies = prng.pick([2, 3, 3])
  const quiet = prng.chance(0.1) && focus === undefined
  return {
    seed,
    nodes,
    copies,
    minCopies: 2,
    mounts,
    programs: prng.pick([1, 2, 3]),
    calmMs: prng.between(1, 5) * second,
    faultMs: quiet ? 0 : prng.between(15, 60) * second,
    faultEveryMs: focus === undefined ? prng.pick([1000, 4000, 8000, 15_000]) : prng.pick([500, 1000]),
    frail: prng.chance(0.5) || focus === 'rotten' ? prng.below(nodes) : undefined,
    bugs,
    shared: false,
    disaster,
    focus,
  }
}
