/** Which copies of the database stay. Pure. */
import { day, hour } from '../../core/units.ts'

export interface KeptCopy {
  readonly name: string
  readonly takenMs: number
  readonly bytes: number
}

export interface Keep {
  /** The newest copy of each of so many hours, counted where there are copies. */
  readonly hourly: number
  /** The same for days. */
  readonly daily: number
}

/** Copies together may take this part of the room that they and the free space make up. */
const roomPart = 2

/**
 * Names of copies to remove. The newest always stays. Beyond what is to be kept, the oldest go while
 * `coming` bytes more would leave the copies with over half of the room.
 */
export function planRotation(
  copies: readonly KeptCopy[],
  keep: Keep,
  freeBytes: number,
  coming = 0,
): string[] {
  const newestFirst = [...copies].sort((a, b) => b.takenMs - a.takenMs)
  const kept = new Set([
    ...newestOf(newestFirst, hour, keep.hourly),
    ...newestOf(newestFirst, day, keep.daily),
    ...newestFirst.slice(0, 1),
  ])
  let bytes = coming
  let room = freeBytes
  for (const copy of newestFirst) {
    room += copy.bytes
    if (kept.has(copy)) bytes += copy.bytes
  }
  for (const copy of [...newestFirst.slice(1)].reverse()) {
    if (bytes <= room / roomPart) break
    if (kept.delete(copy)) bytes -= copy.bytes
  }
  return newestFirst.filter(copy => !kept.has(copy)).map(({ name }) => name)
}

/** Whether so many bytes more fit beside the newest copy alone. */
export function fits(copies: readonly KeptCopy[], freeBytes: number, coming: number): boolean {
  const newest = copies.reduce<KeptCopy | undefined>(
    (best, copy) => (best === undefined || copy.takenMs > best.takenMs ? copy : best),
    undefined,
  )
  const room = copies.reduce((sum, { bytes }) => sum + bytes, freeBytes)
  return (newest?.bytes ?? 0) + coming <= room / roomPart
}

function newestOf(newestFirst: readonly KeptCopy[], periodMs: number, count: number): KeptCopy[] {
  const found = new Map<number, KeptCopy>()
  for (const copy of newestFirst) {
    const period = Math.floor(copy.takenMs / periodMs)
    if (!found.has(period)) found.set(period, copy)
  }
  return [...found.values()].slice(0, count)
}
