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
    for (const { rows } of groups) {
      for (const row of rows)
        for (const side of rotated(sides, round)) await measureOne(measuring, row, side, round)
      for (const side of rotated(sides, round)) await measureAnew(measuring, rows, side, round)
    }
    for (const side of sides) await emptied(measuring, side)
    measuring.ended()
  }
}

async function measureOne(measuring: Measuring, row: Row, side: Side, round: number): Promise<void> {
  await prepare(measuring, row, side)
  if (row.cold === true) await dropCaches()
  await timed(measuring, row, row, side, round)
}

/** Cold rows again: who mounts anew has nothing in the memory of the mount's process either. */
async function measureAnew(
  measuring: Measuring,
  rows: readonly Row[],
  side: Side,
  round: number,
): Promise<void> {
  const cold = rows.filter(row => row.cold === true)
  if (cold.length === 0) return
  for (const row of rows) {
    if (row.makes !== true) continue
    await prepare(measuring, row, side)
    await work({ ...orderOf(measuring, row, side), phase: 'run' })
  }
  await side.settle()
  for (const row of cold) {
    await side.remount()
    await dropCaches()
    const { key, name, unit } = row
    await timed(measuring, row, { key: `${key}-anew`, name: `${name}, mounted anew`, unit }, side, round)
  }
}

const orderOf = ({ sizes, scratch }: Measuring, { key }: Row, { dir }: Side) => ({
  sizes,
  scratch,
  row: key,
  dir,
})

async function prepare(measuring: Measuring, row: Row, side: Side): Promise<void> {
  await work({ ...orderOf(measuring, row, side), phase: 'prepare' })
  await side.settle()
}

async function timed(
  measuring: Measuring,
  row: Row,
  { key, name, unit, goal }: Omit<Row, 'run'>,
  side: Side,
  round: number,
): Promise<void> {
  const { units, ms } = await work({ ...orderOf(measuring, row, side), phase: 'run' })
  const rate = units / (ms / 1000)
  addRate(measuring.results, { key, name, unit, ...(goal === undefined ? {} : { goal }) }, side.key, rate)
  measuring.say(`round ${round + 1}: ${name}, ${side.name}: ${rate.toFixed(0)} ${unit}/s`)
  // Whoever comes next on this machine is not to wait for what this one left to be done.
  await side.settle()
}

/** The next round begins as this one did. */
async function emptied({ sizes, scratch }: Measuring, { dir }: Side): Promise<void> {
  await work({ sizes, scratch, row: '', dir, phase: 'empty' })
}

const rotated = <T>(list: readonly T[], by: number): T[] => {
  const at = by % list.length
  return [...list.slice(at), ...list.slice(0, at)]
}
