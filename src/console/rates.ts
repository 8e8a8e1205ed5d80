import { type OperationTime, timeBoundsMs } from '../core/operation-times.ts'

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
    p50Ms: percentile(counts, 0.5),
    p99Ms: percentile(counts, 0.99),
  }
}

function totals(times: readonly OperationTime[]): number[] {
  const sums = Array.from({ length: timeBoundsMs.length + 1 }, () => 0)
  for (const { counts } of times)
    for (const [at, count] of counts.entries()) sums[at] = (sums[at] ?? 0) + count
  return sums
}

/** As if times were spread evenly between two bounds; beyond the last bound, that bound. */
function percentile(counts: readonly number[], part: number): number | null {
  const all = counts.reduce((sum, count) => sum + count, 0)
  if (all === 0) return null
  let left = all * part
  for (const [at, count] of counts.entries()) {
    const low = timeBoundsMs[at - 1] ?? 0
    const high = timeBoundsMs[at] ?? low
    if (left <= count) return low + (high - low) * (left / count)
    left -= count
  }
  return timeBoundsMs.at(-1) ?? 0
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
