/**
 * Arithmetic of one owner's byte-range locks: sorted, disjoint ranges, where neighbours of the same
 * kind are merged (as fcntl(2) describes). Pure.
 */
export type LockKindHeld = 'read' | 'write'

export interface HeldRange {
  readonly kind: LockKindHeld
  readonly start: bigint
  /** Inclusive. */
  readonly end: bigint
  readonly pid: number
}

export interface RangeChange {
  readonly kind: LockKindHeld | 'unlock'
  readonly start: bigint
  readonly end: bigint
  readonly pid: number
}

export const overlaps = (
  a: { readonly start: bigint; readonly end: bigint },
  b: { readonly start: bigint; readonly end: bigint },
): boolean => a.start <= b.end && b.start <= a.end

/** What the owner holds after the change: what it covers is replaced, the rest is cut and kept. */
export function changeRanges(held: readonly HeldRange[], change: RangeChange): HeldRange[] {
  const result: HeldRange[] = []
  for (const range of held) {
    if (!overlaps(range, change)) {
      result.push(range)
      continue
    }
    if (range.start < change.start) result.push({ ...range, end: change.start - 1n })
    if (range.end > change.end) result.push({ ...range, start: change.end + 1n })
  }
  const { kind } = change
  if (kind !== 'unlock') result.push({ kind, start: change.start, end: change.end, pid: change.pid })
  result.sort((a, b) => (a.start < b.start ? -1 : 1))
  return merged(result)
}

function merged(sorted: readonly HeldRange[]): HeldRange[] {
  const result: HeldRange[] = []
  for (const range of sorted) {
    const last = result.at(-1)
    if (last !== undefined && last.kind === range.kind && last.end + 1n === range.start)
      result[result.length - 1] = { ...last, end: range.end, pid: range.pid }
    else result.push(range)
  }
  return result
}

/** The first of the ranges that another owner's request must wait for. */
export function firstConflict(held: readonly HeldRange[], wanted: RangeChange): HeldRange | undefined {
  if (wanted.kind === 'unlock') return undefined
  return held.find(range => (range.kind === 'write' || wanted.kind === 'write') && overlaps(range, wanted))
}
