/**
 * Which part of an export's rate of reading each node has. A quarter is divided among all nodes and said in tokens, so that it
 * holds without the master; the rest goes to where it was asked for, as nodes say with their heartbeats. Together they never are
 * more than the rate, but for what a node was told before another one asked, until its next heartbeat, or of one that does not reach
 * the master, until it believes that no more.
 */
import { second } from '../../core/units.ts'
import type { ReadDemand, ReadShare } from '../../wire/gen/cairn/v1/nodes.ts'
import type { ReadTerms } from '../../wire/read-token.ts'
import { listOf, u64 } from '../../wire/validate.ts'
import type { Turn } from '../engine/turn.ts'
import { type ExportRow, mayShortCircuit } from '../store/exports.ts'

const inTokens = 1 / 4
/** A node that says nothing for so long does not ask any more. */
const demandMs = 5 * second
const demandsMax = 1000

export class ReadShares {
  readonly #turn: Turn
  readonly #nodesUp: () => number
  readonly #byExport = new Map<bigint, Map<bigint, { readonly bytes: number; readonly atMs: number }>>()

  constructor(turn: Turn, nodesUp: () => number) {
    this.#turn = turn
    this.#nodesUp = nodesUp
  }

  /** What tokens of the export's sessions say; undefined: nothing. */
  termsOf(row: ExportRow | undefined): Omit<ReadTerms, 'expiry'> | undefined {
    if (row === undefined) return undefined
    const { readBytesPerSecond } = row
    const mayReadFiles = mayShortCircuit(row)
    if (mayReadFiles) return undefined
    return { export: numberOf(row), bytesPerSecond: this.#each(readBytesPerSecond), mayReadFiles }
  }

  /** A node said what it was asked for. What of it is that node's. */
  demanded(node: bigint, wire: readonly ReadDemand[]): ReadShare[] {
    const { now, store } = this.#turn
    const rows = new Map([...store.exports.all()].map(row => [numberOf(row), row]))
    return listOf(wire, demandsMax, 'heartbeat.read_demands').flatMap(demand => {
      const row = rows.get(demand.export)
      const bytes = u64(demand.bytes, 'heartbeat.read_demands.bytes')
      if (row === undefined || row.readBytesPerSecond === 0) return []
      const demands = this.#byExport.get(demand.export) ?? new Map<bigint, { bytes: number; atMs: number }>()
      this.#byExport.set(demand.export, demands)
      demands.set(node, { bytes, atMs: now })
      let all = 0
      for (const [other, { bytes: asked, atMs }] of demands)
        if (now - atMs > demandMs) demands.delete(other)
        else all += asked
      const rest = row.readBytesPerSecond * (1 - inTokens)
      const own = this.#each(row.readBytesPerSecond) + (all === 0 ? 0 : (rest * bytes) / all)
      return [{ export: demand.export, bytesPerSecond: BigInt(Math.max(1, Math.floor(own))) }]
    })
  }

  #each(rate: number): number {
    return rate === 0 ? 0 : Math.max(1, Math.floor((rate * inTokens) / Math.max(1, this.#nodesUp())))
  }
}

/** By which nodes know it: no export of before had the same. */
const numberOf = ({ domain }: ExportRow): bigint => domain.readBigUInt64BE()
