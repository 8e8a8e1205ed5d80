/** What happened between two readings of a master's counters. */
import { percentile } from '../../core/operation-times.ts'
import type { ActivityReply, OperationCounts, StatusReply } from '../../wire/gen/cairn/v1/admin.ts'

export interface Reading {
  readonly activity: ActivityReply
  readonly status: StatusReply
}

export interface OperationRate {
  readonly operation: string
  readonly perSecond: number
  readonly errorsPerSecond: number
  /** Milliseconds; undefined if there were none. */
  readonly meanMs: number | undefined
  readonly p50Ms: number | undefined
  readonly p95Ms: number | undefined
  readonly p99Ms: number | undefined
}

export interface Rates {
  readonly seconds: number
  readonly all: OperationRate
  /** Busiest first; only those that happened. */
  readonly operations: readonly OperationRate[]
  /** Calls a second, by session. */
  readonly callsOf: ReadonlyMap<bigint, number>
}

export function ratesBetween(before: Reading, after: Reading): Rates {
  const seconds = Math.max(0.001, Number(after.activity.nowMs - before.activity.nowMs) / 1000)
  // A master that started anew counts from zero: what it has is what happened.
  const isSame =
    after.activity.nowMs >= before.activity.nowMs && after.status.uptimeMs >= before.status.uptimeMs
  const old = new Map(isSame ? before.activity.operations.map(each => [each.operation, each]) : [])
  const bounds = after.activity.boundsUs.map(bound => Number(bound) / 1000)
  const changes = after.activity.operations.map(each => changeOf(each, old.get(each.operation)))
  const operations = changes
    .filter(({ counts }) => counts.some(count => count > 0))
    .map(change => rateOf(change, bounds, seconds))
    .sort((a, b) => b.perSecond - a.perSecond)
  const calls = new Map(isSame ? before.status.mounts.map(mount => [mount.session, mount.calls]) : [])
  return {
    seconds,
    all: rateOf(sumOf(changes), bounds, seconds),
    operations,
    callsOf: new Map(
      after.status.mounts.map(mount => [
        mount.session,
        Number(mount.calls - (calls.get(mount.session) ?? 0n)) / seconds,
      ]),
    ),
  }
}

interface Change {
  readonly operation: string
  readonly counts: readonly number[]
  readonly sumMs: number
  readonly failures: number
}

function changeOf(now: OperationCounts, before: OperationCounts | undefined): Change {
  return {
    operation: now.operation,
    counts: now.counts.map((count, at) => Number(count - (before?.counts[at] ?? 0n))),
    sumMs: Number(now.sumUs - (before?.sumUs ?? 0n)) / 1000,
    failures: Number(now.failures - (before?.failures ?? 0n)),
  }
}

function sumOf(changes: readonly Change[]): Change {
  const length = Math.max(0, ...changes.map(({ counts }) => counts.length))
  const total = (of: (change: Change) => number): number => changes.reduce((sum, each) => sum + of(each), 0)
  return {
    operation: 'all',
    counts: Array.from({ length }, (_, at) => total(({ counts }) => counts[at] ?? 0)),
    sumMs: total(({ sumMs }) => sumMs),
    failures: total(({ failures }) => failures),
  }
}

function rateOf(
  { operation, counts, sumMs, failures }: Change,
  bounds: readonly number[],
  seconds: number,
): OperationRate {
  const count = counts.reduce((sum, each) => sum + each, 0)
  return {
    operation,
    perSecond: count / seconds,
    errorsPerSecond: failures / seconds,
    meanMs: count === 0 ? undefined : sumMs / count,
    p50Ms: percentile(counts, bounds, 0.5),
    p95Ms: percentile(counts, bounds, 0.95),
    p99Ms: percentile(counts, bounds, 0.99),
  }
}
