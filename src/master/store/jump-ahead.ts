import { nsPerSecond } from '../../core/units.ts'
import type { IdCounter } from './counters.ts'
import type { Store } from './store.ts'

/**
 * How far ids jump: so far in any case, and more for each second that another master may have issued some, more than
 * one can issue. Of restores from the same backup the later one jumps further, past what the earlier one issued.
 */
interface Jump {
  readonly least: bigint
  readonly perSecond: bigint
}

const far: Jump = { least: 2n ** 40n, perSecond: 2n ** 20n }
const jumps: Readonly<Record<IdCounter, Jump>> = {
  ino: far,
  block: far,
  generation: far,
  cookie: far,
  order: far,
  session: { least: 2n ** 32n, perSecond: 2n ** 10n },
  // People read these.
  node: { least: 10_000n, perSecond: 10n },
}
const incarnations = 1_000_000n

/**
 * The database is as of `from`, and somebody went on after that until `until`, ns: whatever was issued meanwhile is
 * not issued again. Returns from where to where ids of nodes were skipped. Part of a transaction.
 */
export function jumpAhead(
  { counters, format }: Store,
  from: bigint,
  until: bigint,
): { readonly nodeFrom: bigint; readonly nodeTo: bigint } {
  const seconds = until > from ? (until - from) / nsPerSecond : 0n
  const nodeFrom = counters.peek('node')
  for (const [counter, { least, perSecond }] of Object.entries(jumps))
    counters.issue(counter as IdCounter, Number(least + seconds * perSecond))
  format.skipIncarnations(incarnations)
  return { nodeFrom, nodeTo: counters.peek('node') }
}
