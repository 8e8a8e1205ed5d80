import type { Database } from 'better-sqlite3'
import { UsageError } from '../../core/errors.ts'

/** Version of the schema. A database with a higher one was written by a newer Cairn. */
export const schemaVersion = 8

/** Marks the file as a master's database ("Crnm" in ASCII, PRAGMA application_id). */
export const applicationId = 0x43_72_6e_6d

/** What a cluster is formatted with; fixed for its life, except `incarnation`. */
export interface Format {
  /** Random identity of the cluster, 16 bytes. */
  readonly cluster: Buffer
  readonly blockBytes: number
  /** Copies of files where nothing else is set. */
  readonly copies: number
  readonly minCopies: number
  /** When the cluster was made, ns. */
  readonly created: bigint
}

interface Row {
  readonly version: bigint
  readonly cluster: Buffer
  readonly block_bytes: bigint
  readonly copies: bigint
  readonly min_copies: bigint
  readonly created: bigint
  readonly incarnation: bigint
}

/** The one row that says what this database is. Its layout never changes: any version can read it. */
export class FormatTable {
  static readonly schema = `
    CREATE TABLE format (
      one INTEGER PRIMARY KEY CHECK (one = 1),
      version INTEGER NOT NULL,
      cluster BLOB NOT NULL,
      block_bytes INTEGER NOT NULL,
      copies INTEGER NOT NULL,
      min_copies INTEGER NOT NULL,
      created INTEGER NOT NULL, -- ns
      incarnation INTEGER NOT NULL -- of the master: rises with every start
    ) STRICT;`

  readonly #db: Database
  readonly facts: Format
  readonly version: number
  #incarnation: bigint

  /** Throws UsageError for a database of a newer Cairn. */
  constructor(db: Database) {
    this.#db = db
    const row = db.prepare<[], Row>('SELECT * FROM format').safeIntegers().get()
    if (row === undefined)
      throw new UsageError('The master database has no format row: it was never formatted')
    if (row.version > BigInt(schemaVersion)) {
      throw new UsageError(
        `The master database has format version ${row.version.toString()}, this program knows up to ${schemaVersion}: use a newer Cairn`,
      )
    }
    this.version = Number(row.version)
    this.facts = {
      cluster: row.cluster,
      blockBytes: Number(row.block_bytes),
      copies: Number(row.copies),
      minCopies: Number(row.min_copies),
      created: row.created,
    }
    this.#incarnation = row.incarnation
  }

  static write(db: Database, format: Format): void {
    db.prepare(
      `INSERT INTO format (one, version, cluster, block_bytes, copies, min_copies, created, incarnation)
       VALUES (1, ?, ?, ?, ?, ?, ?, 0)`,
    ).run(schemaVersion, format.cluster, format.blockBytes, format.copies, format.minCopies, format.created)
  }

  get incarnation(): bigint {
    return this.#incarnation
  }

  /** The database is a restored one: far ahead of every start since its backup. */
  skipIncarnations(count: bigint): void {
    this.#incarnation += count
    this.#db.prepare<[bigint]>('UPDATE format SET incarnation = ?').run(this.#incarnation)
  }

  /** The master starts: a new incarnation, on the disk when the transaction is. */
  beginIncarnation(): bigint {
    this.#incarnation += 1n
    this.#db.prepare<[bigint]>('UPDATE format SET incarnation = ?').run(this.#incarnation)
    return this.#incarnation
  }
}
