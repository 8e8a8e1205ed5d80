/** What a run found, as it is kept in bench/results. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, statfsSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import type { Sizes } from '../rows/row.ts'

const formatVersion = 1

export interface SideResult {
  readonly key: string
  readonly name: string
  /** Version and settings. */
  readonly description: string
}

export interface RowResult {
  readonly key: string
  readonly name: string
  readonly unit: string
  /** At least so many times the best peer. */
  readonly goal?: number
  /** Units a second, by side: one for each round. */
  readonly rates: Record<string, number[]>
}

export interface Machine {
  readonly processors: number
  readonly model: string
  readonly memoryGiB: number
  readonly kernel: string
  readonly node: string
  readonly disk: string
}

export interface Results {
  readonly version: number
  /** With a + when the tree had changes that were not committed. */
  readonly commit: string
  readonly began: string
  readonly machine: Machine
  /** Load average of the last minute, when each part of the run began. */
  readonly loads: number[]
  readonly sizes: Sizes
  sides: SideResult[]
  rows: RowResult[]
  /** Milliseconds until the cluster, and a mount, were usable. */
  readonly startsMs: number[]
  readonly mountsMs: number[]
  /** MiB, by process of Cairn: the most that was resident. */
  peaksMiB: Record<string, number>
}

export function newResults(sizes: Sizes, dir: string): Results {
  return {
    version: formatVersion,
    commit: commitName(),
    began: new Date().toISOString(),
    machine: describeMachine(dir),
    loads: [],
    sizes,
    sides: [],
    rows: [],
    startsMs: [],
    mountsMs: [],
    peaksMiB: {},
  }
}

/** Goes on with an earlier part of the same run, if the file is there. */
export function readResults(file: string): Results | undefined {
  if (!existsSync(file)) return undefined
  const results = JSON.parse(readFileSync(file, 'utf8')) as Results
  if (results.version !== formatVersion)
    throw new Error(`${file} has version ${results.version}, this program knows ${formatVersion}`)
  return results
}

export function writeResults(file: string, results: Results): void {
  writeFileSync(file, `${JSON.stringify(results, undefined, 2)}\n`)
}

export function addRate(results: Results, row: Omit<RowResult, 'rates'>, side: string, rate: number): void {
  let found = results.rows.find(({ key }) => key === row.key)
  if (found === undefined) {
    const { key, name, unit, goal } = row
    results.rows.push((found = { key, name, unit, ...(goal === undefined ? {} : { goal }), rates: {} }))
  }
  ;(found.rates[side] ??= []).push(rate)
}

export const median = (numbers: readonly number[]): number => {
  const sorted = [...numbers].sort((a, b) => a - b)
  const middle = sorted.length / 2
  const upper = sorted[Math.floor(middle)] ?? Number.NaN
  return Number.isInteger(middle) ? (upper + (sorted[middle - 1] ?? Number.NaN)) / 2 : upper
}

/** The fastest of the peers in a row. */
export function bestPeer(row: RowResult): number | undefined {
  const peers = Object.entries(row.rates).filter(([side]) => side !== 'local' && side !== 'cairn')
  return peers.length === 0 ? undefined : Math.max(...peers.map(([, rates]) => median(rates)))
}

export function commitName(): string {
  const git = (...args: string[]) => execFileSync('git', args, { encoding: 'utf8' }).trim()
  // Earlier results that are not committed yet change nothing that is measured.
  const changed = git('status', '--porcelain', '--', '.', ':!bench/results') !== ''
  return `${git('rev-parse', '--short=10', 'HEAD')}${changed ? '+' : ''}`
}

export function describeMachine(dir: string): Machine {
  const cpus = os.cpus()
  const { bsize, blocks } = statfsSync(dir)
  return {
    processors: cpus.length,
    model: cpus[0]?.model ?? 'unknown',
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    kernel: os.release(),
    node: process.version,
    disk: `${String(Math.round((bsize * blocks) / 2 ** 30))} GiB`,
  }
}
