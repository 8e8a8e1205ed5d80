/** What a row's work counts in the daemons, and what of it may not grow. */
import type { Row } from '../rows/row.ts'

/** How much more than recorded is no finding: a part of it, and some for what goes on beside (heartbeats, reports). */
interface Tolerance {
  readonly part: number
  readonly fixed: number
  readonly aSecond: number
}

interface Kind {
  /** Series of the daemons' metrics whose growth is this count; the group in brackets is its name. */
  readonly series?: RegExp
  readonly name: (group: string) => string
  readonly tolerance: Tolerance
  /** How often depends on how much gathers before it: only where the program waits for each step. */
  readonly batched?: boolean
}

const trips: Tolerance = { part: 0.05, fixed: 3, aSecond: 1 }
const syncs: Tolerance = { part: 0.15, fixed: 10, aSecond: 10 }
const bytes: Tolerance = { part: 0.1, fixed: 16_384, aSecond: 8192 }

/** The kernel's memory decides when it forgets; the rest of these is not the work's. */
const notCounted = /^(FORGET|BATCH_FORGET|INTERRUPT|DESTROY|INIT|STATFS)$/

const kinds: readonly Kind[] = [
  {
    series: /^cairn_mount_request_seconds_count\{operation="(\w+)"\}$/,
    name: operation => `requests of the kernel, ${operation}`,
    tolerance: trips,
  },
  {
    series: /^cairn_mount_call_seconds_count\{operation="(plan|reserve\w+)"\}$/,
    name: operation => `calls of the master, ${operation}`,
    tolerance: trips,
    batched: true,
  },
  {
    series: /^cairn_mount_call_seconds_count\{operation="(\w+)"\}$/,
    name: operation => `calls of the master, ${operation}`,
    tolerance: trips,
  },
  {
    series: /^cairn_master_step_seconds_count\{operation="(step)"\}$/,
    name: () => 'steps of the master, each with a sync if it changes something',
    tolerance: syncs,
    batched: true,
  },
  {
    series: /^cairn_chunkserver_operation_seconds_count\{operation="(\w+)"\}$/,
    name: operation => `messages to chunkservers, ${operation}`,
    tolerance: trips,
    batched: true,
  },
  {
    series: /^(cairn_chunkserver_index_syncs_total)$/,
    name: () => 'syncs of the index of chunkservers',
    tolerance: syncs,
    batched: true,
  },
  {
    series: /^cairn_chunkserver_(received|sent)_bytes_total$/,
    name: which => `bytes of blocks that chunkservers ${which === 'sent' ? 'sent' : 'received'}`,
    tolerance: bytes,
  },
  { name: () => 'bytes from the mount to the master', tolerance: bytes },
  { name: () => 'bytes from the master to the mount', tolerance: bytes },
]

export type Counts = Record<string, number>

/** What grew in all daemons together, by name. Names that are no finding for this row are left out. */
export function countsOf(row: Row, growths: readonly ReadonlyMap<string, number>[], wire: Counts): Counts {
  const counts: Counts = {}
  for (const growth of growths)
    for (const [series, by] of growth)
      for (const { series: pattern, name, batched } of kinds) {
        const group = pattern?.exec(series)?.[1]
        if (group === undefined) continue
        if (!notCounted.test(group) && (batched !== true || row.waits === true))
          counts[name(group)] = (counts[name(group)] ?? 0) + by
        break
      }
  return { ...counts, ...wire }
}

const toleranceOf = (count: string): Tolerance =>
  kinds.find(({ name }) => count.startsWith(name('').trimEnd()))?.tolerance ?? trips

/** The most that is no finding, when the work took so many seconds. */
export function limitOf(count: string, recorded: number, seconds: number): number {
  const { part, fixed, aSecond } = toleranceOf(count)
  return Math.floor(recorded * (1 + part) + fixed + aSecond * seconds)
}

/** So much less than recorded is worth to be recorded, so that it does not grow back unseen. */
export const fellTo = (count: string, recorded: number): number => recorded * 0.8 - toleranceOf(count).fixed
