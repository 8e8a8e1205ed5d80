import type { LockRange } from './attr.ts'

/** A lock to set, or (kind 'unlock') a range to give up. Ends are inclusive. */
export type LockChange = Omit<LockRange, 'kind'> & { readonly kind: LockRange['kind'] | 'unlock' }

export const overlap = (a: Pick<LockRange, 'start' | 'end'>, b: Pick<LockRange, 'start' | 'end'>): boolean =>
  a.start <= b.end && b.start <= a.end

/**
 * What one owner has locked of one file: ranges that do not overlap, in order. A new lock replaces what it
 * overlaps, and equal neighbours are one, as fcntl(2) has it. A change costs the logarithm of their number.
 */
export class LockRanges {
  readonly #ranges: LockRange[] = []

  get all(): readonly LockRange[] {
    return this.#ranges
  }

  get isEmpty(): boolean {
    return this.#ranges.length === 0
  }

  /** What was there and is not any more, and what is there instead. */
  apply(change: LockChange): {
    readonly removed: readonly LockRange[]
    readonly added: readonly LockRange[]
  } {
    const { kind, start, end, pid } = change
    // Neighbours, too: they may become one with it.
    const from = this.#firstEndingAt(start - 1n)
    let to = from
    while (to < this.#ranges.length && startOf(this.#ranges[to]) <= end + 1n) to++
    const added: LockRange[] = []
    const rest: LockRange[] = []
    for (const range of this.#ranges.slice(from, to)) {
      if (range.start < start) added.push(range.end < start ? range : { ...range, end: start - 1n })
      if (range.end > end) rest.push(range.start > end ? range : { ...range, start: end + 1n })
    }
    if (kind !== 'unlock') added.push({ kind, start, end, pid })
    added.push(...rest)
    const pieces = joined(added)
    const removed = this.#ranges.splice(from, to - from, ...pieces)
    return { removed, added: pieces }
  }

  /** The first that has a byte of the range. */
  firstIn(start: bigint, end: bigint): LockRange | undefined {
    const found = this.#ranges[this.#firstEndingAt(start)]
    return found !== undefined && found.start <= end ? found : undefined
  }

  /** Index of the first range that ends at `at` or behind it. */
  #firstEndingAt(at: bigint): number {
    let low = 0
    let high = this.#ranges.length
    while (low < high) {
      const middle = (low + high) >> 1
      const range = this.#ranges[middle]
      if (range !== undefined && range.end < at) low = middle + 1
      else high = middle
    }
    return low
  }
}

const startOf = (range: LockRange | undefined): bigint => range?.start ?? 0n

function joined(ranges: readonly LockRange[]): LockRange[] {
  const result: LockRange[] = []
  for (const range of ranges) {
    const last = result.at(-1)
    if (last?.kind === range.kind && last.end + 1n === range.start)
      result[result.length - 1] = { ...last, end: range.end, pid: range.pid }
    else result.push(range)
  }
  return result
}
