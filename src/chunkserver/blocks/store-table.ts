import type { Database, Statement } from 'better-sqlite3'
import { type BlockId, blockIdFromBytes, blockIdToBytes } from '../../core/ids.ts'
import type { StoreIdentity, Totals } from './index-protocol.ts'

/** The one row that says whose store this is and where it stands. */
export const storeSchema = `
  CREATE TABLE store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    cluster BLOB NOT NULL,         -- empty until the master accepted the store
    node INTEGER NOT NULL,         -- 0 until then
    store BLOB NOT NULL,           -- random, made with the folder
    incarnation INTEGER NOT NULL,
    clean INTEGER NOT NULL,        -- 1: closed in order
    sequence INTEGER NOT NULL,     -- of the last change
    blocks INTEGER NOT NULL,
    files INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    scrubbed BLOB                  -- the last block that was scrubbed
  ) STRICT;
`

interface RawStore {
  readonly cluster: Buffer
  readonly node: bigint
  readonly store: Buffer
  readonly incarnation: bigint
  readonly clean: bigint
  readonly sequence: bigint
  readonly blocks: bigint
  readonly files: bigint
  readonly bytes: bigint
  readonly scrubbed: Buffer | null
}

export interface StoreRow {
  readonly identity: StoreIdentity
  readonly totals: Totals
  readonly clean: boolean
  readonly scrubbed: BlockId | undefined
}

export class StoreTable {
  readonly #create: Statement<[Uint8Array]>
  readonly #read: Statement<[], RawStore>
  readonly #opened: Statement<[]>
  readonly #closed: Statement<[]>
  readonly #join: Statement<[Uint8Array, bigint]>
  readonly #totals: Statement<[bigint, number, number, number]>
  readonly #scrubbed: Statement<[Buffer | null]>

  constructor(db: Database) {
    this.#create = db.prepare("INSERT INTO store VALUES (1, x'', 0, ?, 0, 1, 0, 0, 0, 0, NULL)")
    this.#read = db.prepare<[], RawStore>('SELECT * FROM store').safeIntegers()
    this.#opened = db.prepare('UPDATE store SET incarnation = incarnation + 1, clean = 0')
    this.#closed = db.prepare('UPDATE store SET clean = 1')
    this.#join = db.prepare('UPDATE store SET cluster = ?, node = ?')
    this.#totals = db.prepare('UPDATE store SET sequence = ?, blocks = ?, files = ?, bytes = ?')
    this.#scrubbed = db.prepare<[Buffer | null]>('UPDATE store SET scrubbed = ?')
  }

  create(store: Uint8Array): void {
    this.#create.run(store)
  }

  read(): StoreRow | undefined {
    const raw = this.#read.get()
    if (raw === undefined) return undefined
    return {
      identity: {
        cluster: new Uint8Array(raw.cluster),
        node: raw.node,
        store: new Uint8Array(raw.store),
        incarnation: raw.incarnation,
      },
      totals: {
        sequence: raw.sequence,
        blocks: Number(raw.blocks),
        files: Number(raw.files),
        bytes: Number(raw.bytes),
      },
      clean: raw.clean !== 0n,
      scrubbed: raw.scrubbed === null ? undefined : blockIdFromBytes(raw.scrubbed),
    }
  }

  /** A new incarnation, not yet closed in order. */
  opened(): void {
    this.#opened.run()
  }

  closed(): void {
    this.#closed.run()
  }

  join(cluster: Uint8Array, node: bigint): void {
    this.#join.run(cluster, node)
  }

  setTotals({ sequence, blocks, files, bytes }: Totals): void {
    this.#totals.run(sequence, blocks, files, bytes)
  }

  setScrubbed(id: BlockId | undefined): void {
    this.#scrubbed.run(id === undefined ? null : blockIdToBytes(id))
  }
}
