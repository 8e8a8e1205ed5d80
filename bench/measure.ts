/** The same work on every side, interleaved, several rounds. */
import { dropCaches } from './caches.ts'
import { addRate, type Results } from './report/results.ts'
import type { Group, Row, Sizes } from './rows/row.ts'
import type { Side } from './sides/side.ts'
import { work } from './worker.ts'

export interface Measuring {
  readonly sides: readonly Side[]
  readonly groups: readonly Group[]
  readonly rounds: number
  readonly sizes: Sizes
  readonly scratch: string
  readonly results: Results
  /** After each round: what was found so far is complete. */
  readonly ended: () => void
  readonly say: (line: string) => void
}

export async function measure(measuring: Measuring): Promise<void> {
  const { sides, groups, rounds } = measuring
  for (let round = 0; round < rounds; round++) {
    // Another one goes first in each round: who comes after somebody else's writes is not always the same.
    for (const group of groups)
      for (const row of group.rows)
        for (const side of rotated(sides, round)) await measureOne(measuring, row, side, round)
    for (const side of sides) await emptied(measuring, side)
    measuring.ended()
  }
}

async function measureOne(
  { results, say, sizes, scratch }: Measuring,
  row: Row,
  side: Side,
  round: number,
): Promise<void> {
  const order = { sizes, scratch, row: row.key, dir: side.dir }
  await work({ ...order, phase: 'prepare' })
  await side.settle()
  const run = async ({ key, name, unit, goal }: Omit<Row, 'run'>): Promise<void> => {
    const { units, ms } = await work({ ...order, phase: 'run' })
    const rate = units / (ms / 1000)
    addRate(results, { key, name, unit, ...(goal === undefined ? {} : { goal }) }, side.key, rate)
    say(`round ${round + 1}: ${name}, ${side.name}: ${rate.toFixed(0)} ${unit}/s`)
  }
  if (row.cold !== true) return run(row)
  await dropCaches()
  await run(row)
  // Who mounts anew has nothing in the memory of the mount's process either.
  await side.remount()
  await dropCaches()
  await run({ key: `${row.key}-anew`, name: `${row.name}, mounted anew`, unit: row.unit })
}

/** The next round begins as this one did. */
async function emptied({ sizes, scratch }: Measuring, { dir }: Side): Promise<void> {
  await work({ sizes, scratch, row: '', dir, phase: 'empty' })
}

const rotated = <T>(list: readonly T[], by: number): T[] => {
  const at = by % list.length
  return [...list.slice(at), ...list.slice(0, at)]
}
