import type { Database } from 'better-sqlite3'
import { FsError } from '../../core/errors.ts'
import type { Ino, SessionId } from '../../core/ids.ts'
import type { Counters } from './counters.ts'
import { must } from '../../core/assert.ts'

interface Range {
  readonly first: bigint
  readonly end: bigint
  /** The lowest number that was not used. */
  next: bigint
  stored: bigint
}

/** A session asks again before it has used up a range; those that it forgot about go, oldest first. */
const rangesMax = 8

/**
 * Inode numbers reserved for sessions, so that a mount can tell a program about a file before the master has
 * made it. Each number is used once: in rising order within a range, skipping allowed. Held in memory and
 * written once per transaction, like the counters.
 */
export class InoRanges {
  static readonly schema = `
    CREATE TABLE ino_ranges (
      session INTEGER NOT NULL,
      first INTEGER NOT NULL,
      end INTEGER NOT NULL, -- exclusive
      next INTEGER NOT NULL,
      PRIMARY KEY (session, first)
    ) STRICT, WITHOUT ROWID;`

  readonly #counters: Counters
  readonly #bySession = new Map<bigint, Range[]>()
  readonly #dirty = new Set<bigint>()
  readonly #put
  readonly #drop
  readonly #dropAll

  constructor(db: Database, counters: Counters) {
    this.#counters = counters
    const rows = db
      .prepare<[], { session: bigint; first: bigint; end: bigint; next: bigint }>(
        'SELECT session, first, end, next FROM ino_ranges ORDER BY session, first',
      )
      .safeIntegers()
    for (const { session, first, end, next } of rows.all())
      this.#of(session).push({ first, end, next, stored: next })
    this.#put = db.prepare<[bigint, bigint, bigint, bigint]>(
      `INSERT INTO ino_ranges (session, first, end, next) VALUES (?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET next = excluded.next`,
    )
    this.#drop = db.prepare<[bigint, bigint]>('DELETE FROM ino_ranges WHERE session = ? AND first = ?')
    this.#dropAll = db.prepare<[bigint]>('DELETE FROM ino_ranges WHERE session = ?')
  }

  /** The first of `count` numbers that now belong to the session. */
  reserve(session: SessionId, count: number): Ino {
    const first = this.#counters.issue('ino', count)
    const ranges = this.#of(session)
    ranges.push({ first, end: first + BigInt(count), next: first, stored: -1n })
    if (ranges.length > rangesMax) this.#drop.run(session, must(ranges.shift(), 'oldest range').first)
    this.#dirty.add(session)
    return first as Ino
  }

  /** Uses a number. EINVAL if it is not the session's, or was used. */
  take(session: SessionId, ino: bigint): Ino {
    const range = this.#bySession.get(session)?.find(({ next, end }) => ino >= next && ino < end)
    if (range === undefined)
      throw new FsError('EINVAL', `create.ino: ${ino} is not reserved for this session`)
    range.next = ino + 1n
    this.#dirty.add(session)
    return ino as Ino
  }

  /** Whether the session may still use the number. */
  isReserved(session: SessionId, ino: bigint): boolean {
    const ranges = this.#bySession.get(session) ?? []
    return ranges.some(({ next, end }) => ino >= next && ino < end)
  }

  sessionEnded(session: SessionId): void {
    this.#bySession.delete(session)
    this.#dirty.delete(session)
    this.#dropAll.run(session)
  }

  /** Writes what changed; part of the transaction that ends now. */
  write(): void {
    for (const session of this.#dirty)
      for (const range of this.#of(session)) {
        if (range.stored === range.next) continue
        this.#put.run(session, range.first, range.end, range.next)
        range.stored = range.next
      }
    this.#dirty.clear()
  }

  #of(session: bigint): Range[] {
    let ranges = this.#bySession.get(session)
    if (ranges === undefined) this.#bySession.set(session, (ranges = []))
    return ranges
  }
}
