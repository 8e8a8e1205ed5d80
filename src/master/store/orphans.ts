import type { Database } from 'better-sqlite3'
import type { Ino, SessionId } from '../../core/ids.ts'
import { fitsInt64 } from './int64.ts'

/** Inodes without a name that sessions have open. The last row of an inode keeps it alive. */
export class Orphans {
  static readonly schema = `
    CREATE TABLE orphans (
      ino INTEGER NOT NULL,
      session INTEGER NOT NULL,
      PRIMARY KEY (ino, session)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX orphans_by_session ON orphans (session);`

  readonly #any
  readonly #one
  readonly #other
  readonly #ofSession
  readonly #all
  readonly #count
  readonly #countOf
  readonly #insert
  readonly #delete
  readonly #deleteIno

  constructor(db: Database) {
    this.#any = db.prepare<[bigint], number>('SELECT 1 FROM orphans WHERE ino = ? LIMIT 1').pluck()
    this.#one = db
      .prepare<[bigint, bigint], number>('SELECT 1 FROM orphans WHERE ino = ? AND session = ?')
      .pluck()
    this.#other = db
      .prepare<[bigint, bigint], number>('SELECT 1 FROM orphans WHERE ino = ? AND session <> ? LIMIT 1')
      .pluck()
    this.#ofSession = db
      .prepare<[bigint, number], bigint>('SELECT ino FROM orphans WHERE session = ? ORDER BY ino LIMIT ?')
      .safeIntegers()
      .pluck()
    this.#all = db
      .prepare<[], { ino: bigint; session: bigint }>('SELECT ino, session FROM orphans')
      .safeIntegers()
    this.#count = db.prepare<[], bigint>('SELECT count(DISTINCT ino) FROM orphans').safeIntegers().pluck()
    this.#countOf = db
      .prepare<[bigint, number], number>(
        'SELECT count(*) FROM (SELECT 1 FROM orphans WHERE session = ? LIMIT ?)',
      )
      .pluck()
    this.#insert = db.prepare<[bigint, bigint]>('INSERT OR IGNORE INTO orphans (ino, session) VALUES (?, ?)')
    this.#delete = db.prepare<[bigint, bigint]>('DELETE FROM orphans WHERE ino = ? AND session = ?')
    this.#deleteIno = db.prepare<[bigint]>('DELETE FROM orphans WHERE ino = ?')
  }

  has(ino: Ino): boolean {
    return this.#any.get(ino) !== undefined
  }

  /** Whether the session has it open. */
  isOf(ino: Ino, session: SessionId): boolean {
    return this.#one.get(ino, session) !== undefined
  }

  /** Whether a session other than this has it open. */
  hasOther(ino: Ino, session: SessionId): boolean {
    return fitsInt64(ino) && this.#other.get(ino, session) !== undefined
  }

  ofSession(session: SessionId, limit: number): Ino[] {
    return this.#ofSession.all(session, limit) as Ino[]
  }

  all(): { readonly ino: Ino; readonly session: SessionId }[] {
    return this.#all.all() as { ino: Ino; session: SessionId }[]
  }

  /** Inodes, each once. */
  count(): bigint {
    return this.#count.get() ?? 0n
  }

  /** How many the sessions have open together; it stops to count at `most`. */
  countOf(sessions: Iterable<SessionId>, most: number): number {
    let count = 0
    for (const session of sessions) {
      if (count >= most) break
      count += this.#countOf.get(session, most - count) ?? 0
    }
    return count
  }

  add(ino: Ino, session: SessionId): void {
    this.#insert.run(ino, session)
  }

  /** False if the session did not hold it. */
  remove(ino: Ino, session: SessionId): boolean {
    return fitsInt64(ino) && this.#delete.run(ino, session).changes > 0
  }

  /** The inode has a name again (a linked O_TMPFILE). */
  removeAll(ino: Ino): void {
    this.#deleteIno.run(ino)
  }
}
