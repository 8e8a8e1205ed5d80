import type { LockRange } from '../../core/attr.ts'
import type { LockChange } from '../../wire/attr.ts'

/**
 * What one owner has locked of one file: ranges that do not overlap, in order. A new lock replaces
 * what it overlaps, as fcntl(2) has it; equal neighbours are one.
 */
export class HeldRanges {
  #ranges: LockRange[] = []

  get empty(): boolean {
    return this.#ranges.length === 0
  }

  get ranges(): readonly LockRange[] {
    return this.#ranges
  }

  apply(change: LockChange): void {
    const { kind, start, end, pid } = change
    const rest: LockRange[] = []
    for (const range of this.#ranges) {
      if (range.end < start || range.start > end) rest.push(range)
      else {
        if (range.start < start) rest.push({ ...range, end: start - 1n })
        if (range.end > end) rest.push({ ...range, start: end + 1n })
      }
    }
    if (kind !== 'unlock') rest.push({ kind, start, end, pid })
    rest.sort((a, b) => (a.start < b.start ? -1 : 1))
    this.#ranges = joined(rest)
  }
}

function joined(ranges: readonly LockRange[]): LockRange[] {
  const result: LockRange[] = []
  for (const range of ranges) {
    const last = result.at(-1)
    if (last?.kind === range.kind && last.end + 1n === range.start)
      result[result.length - 1] = { ...last, end: range.end }
    else result.push(range)
  }
  return result
}
