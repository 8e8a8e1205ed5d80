import type { Database } from 'better-sqlite3'
import type { SessionId } from '../../core/ids.ts'

/**
 * Encoded replies of executed commands, kept in the transaction of their effects until the session
 * has acknowledged them: a command that is sent again is answered from here.
 */
export class Replies {
  static readonly schema = `
    CREATE TABLE replies (
      session INTEGER NOT NULL,
      call INTEGER NOT NULL,
      reply BLOB NOT NULL,
      PRIMARY KEY (session, call)
    ) STRICT, WITHOUT ROWID;`

  readonly #get
  readonly #highest
  readonly #insert
  readonly #deleteUpTo
  readonly #deleteSession

  constructor(db: Database) {
    this.#get = db
      .prepare<[bigint, bigint], Buffer>('SELECT reply FROM replies WHERE session = ? AND call = ?')
      .pluck()
    this.#highest = db
      .prepare<[bigint], bigint | null>('SELECT max(call) FROM replies WHERE session = ?')
      .pluck()
      .safeIntegers()
    this.#insert = db.prepare<[bigint, bigint, Uint8Array]>(
      'INSERT INTO replies (session, call, reply) VALUES (?, ?, ?)',
    )
    this.#deleteUpTo = db.prepare<[bigint, bigint]>('DELETE FROM replies WHERE session = ? AND call <= ?')
    this.#deleteSession = db.prepare<[bigint]>('DELETE FROM replies WHERE session = ?')
  }

  find(session: SessionId, call: bigint): Buffer | undefined {
    return this.#get.get(session, call)
  }

  /** The highest call id with a kept reply; 0 if there is none. */
  highest(session: SessionId): bigint {
    return this.#highest.get(session) ?? 0n
  }

  keep(session: SessionId, call: bigint, reply: Uint8Array): void {
    this.#insert.run(session, call, reply)
  }

  acknowledged(session: SessionId, upTo: bigint): void {
    this.#deleteUpTo.run(session, upTo)
  }

  sessionEnded(session: SessionId): void {
    this.#deleteSession.run(session)
  }
}
