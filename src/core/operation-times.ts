/** Upper bounds, milliseconds: from an answer out of memory to a disk that hangs. */
export const timeBoundsMs = [0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000] as const

/**
 * Of a histogram: within a bucket they are taken to lie evenly. In the last one, which has no upper bound, it is the
 * lower one.
 */
export function percentile(
  counts: readonly number[],
  bounds: readonly number[],
  part: number,
): number | undefined {
  const count = counts.reduce((sum, each) => sum + each, 0)
  if (count === 0) return undefined
  let left = count * part
  for (const [at, here] of counts.entries()) {
    const from = bounds[at - 1] ?? 0
    const to = bounds[at] ?? from
    if (left <= here) return from + (to - from) * (left / here)
    left -= here
  }
  return bounds.at(-1)
}

/** One operation, as plain values: they cross threads. */
export interface OperationTime {
  readonly operation: string
  /** For each of the bounds, how many took no longer than it and longer than the one before; then the rest. */
  readonly counts: readonly number[]
  readonly sumMs: number
  /** How often it failed, by errno. */
  readonly failures: readonly (readonly [string, number])[]
}

interface Row {
  readonly counts: number[]
  sumMs: number
  readonly failures: Map<string, number>
}

/**
 * How often each operation was done, how long it took and how it failed: a few additions each, so that
 * every request can be counted. Names are few: operations of a protocol.
 */
export class OperationTimes {
  readonly #rows = new Map<string, Row>()

  observe(operation: string, ms: number, failure?: string): void {
    let row = this.#rows.get(operation)
    if (row === undefined) {
      row = {
        counts: Array.from({ length: timeBoundsMs.length + 1 }, () => 0),
        sumMs: 0,
        failures: new Map(),
      }
      this.#rows.set(operation, row)
    }
    let at = 0
    while (at < timeBoundsMs.length && ms > (timeBoundsMs[at] ?? 0)) at++
    row.counts[at] = (row.counts[at] ?? 0) + 1
    row.sumMs += ms
    if (failure !== undefined) row.failures.set(failure, (row.failures.get(failure) ?? 0) + 1)
  }

  rows(): OperationTime[] {
    return [...this.#rows].map(([operation, { counts, sumMs, failures }]) => ({
      operation,
      counts: [...counts],
      sumMs,
      failures: [...failures],
    }))
  }
}
