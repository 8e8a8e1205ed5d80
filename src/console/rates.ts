import { type OperationTime, percentile, timeBoundsMs } from '../core/operation-times.ts'

/** How often something was done between two looks, and how long it took. */
export interface Interval {
  readonly count: number
  readonly p50Ms: number | null
  readonly p99Ms: number | null
}

/** Of all operations together. Undefined if the counts went back, as they do when the engine begins anew. */
export function between(
  before: readonly OperationTime[],
  now: readonly OperationTime[],
): Interval | undefined {
  const counts = totals(now)
  for (const [at, count] of totals(before).entries()) counts[at] = (counts[at] ?? 0) - count
  if (counts.some(count => count < 0)) return undefined
  return {
    count: counts.reduce((sum, count) => sum + count, 0),
    p50Ms: percentile(counts, timeBoundsMs, 0.5) ?? null,
    p99Ms: percentile(counts, timeBoundsMs, 0.99) ?? null,
  }
}

function totals(times: readonly OperationTime[]): number[] {
  const sums = Array.from({ length: timeBoundsMs.length + 1 }, () => 0)
  for (const { counts } of times)
    for (const [at, count] of counts.entries()) sums[at] = (sums[at] ?? 0) + count
  return sums
}

/** The day, by its pace so far, on which something will be full. */
export interface Growth {
  readonly bytesPerDay: number
  /** Null: not at this pace. */
  readonly fullInDays: number | null
}

const dayMs = 86_400_000
/** A pace that was seen for a shorter time says nothing. */
const shortestMs = 3_600_000

/** By the straight line nearest to the samples; undefined if they are too few. */
export function growthOf(
  times: readonly number[],
  used: readonly (number | null)[],
  total: number,
): Growth | undefined {
  const points = times.flatMap((time, at) => {
    const value = used[at]
    return value === null || value === undefined ? [] : [{ x: time / dayMs, y: value }]
  })
  const [first, last] = [points[0], points.at(-1)]
  if (first === undefined || last === undefined || (last.x - first.x) * dayMs < shortestMs) return undefined
  const meanX = points.reduce((sum, { x }) => sum + x, 0) / points.length
  const meanY = points.reduce((sum, { y }) => sum + y, 0) / points.length
  const above = points.reduce((sum, { x, y }) => sum + (x - meanX) * (y - meanY), 0)
  const below = points.reduce((sum, { x }) => sum + (x - meanX) ** 2, 0)
  const bytesPerDay = above / below
  const left = Math.max(0, total - last.y)
  return { bytesPerDay, fullInDays: bytesPerDay > 0 ? left / bytesPerDay : null }
}
