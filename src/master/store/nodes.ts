import type { Database } from 'better-sqlite3'
import type { NodeId } from '../../core/ids.ts'
import type { Counters } from './counters.ts'

export interface NodeRow {
  readonly id: NodeId
  /** Random identity of the store behind the id. */
  readonly store: Buffer
  /** Secret shared with the node, for grants and receipts. */
  readonly key: Buffer
  /** Rises each time the store is opened. */
  readonly incarnation: bigint
  readonly address: string
  readonly zone: string
  readonly host: string
  readonly totalBytes: number
  readonly usedBytes: number
  /** Changes of the store up to this sequence number are in the replicas table. */
  readonly knownSequence: bigint
  /** Cluster time of its last word, ns. */
  readonly seen: bigint
  /** Takes no new blocks: it is being emptied. */
  readonly draining: boolean
  /** Whose it is: as whom it registered with TLS. Empty: nobody's yet. */
  readonly identity: string
}

interface Row {
  readonly id: bigint
  readonly store: Buffer
  readonly key: Buffer
  readonly incarnation: bigint
  readonly address: string
  readonly zone: string
  readonly host: string
  readonly total_bytes: bigint
  readonly used_bytes: bigint
  readonly known_sequence: bigint
  readonly seen: bigint
  readonly draining: bigint
  readonly identity: string
}

const fromRow = (row: Row): NodeRow => ({
  id: row.id as NodeId,
  store: row.store,
  key: row.key,
  incarnation: row.incarnation,
  address: row.address,
  zone: row.zone,
  host: row.host,
  totalBytes: Number(row.total_bytes),
  usedBytes: Number(row.used_bytes),
  knownSequence: row.known_sequence,
  seen: row.seen,
  draining: row.draining !== 0n,
  identity: row.identity,
})

/** Chunkservers that ever registered and were not removed for good. */
export class Nodes {
  static readonly schema = `
    CREATE TABLE nodes (
      id INTEGER PRIMARY KEY,
      store BLOB NOT NULL UNIQUE,
      key BLOB NOT NULL,
      incarnation INTEGER NOT NULL,
      address TEXT NOT NULL,
      zone TEXT NOT NULL,
      host TEXT NOT NULL,
      total_bytes INTEGER NOT NULL,
      used_bytes INTEGER NOT NULL,
      known_sequence INTEGER NOT NULL,
      seen INTEGER NOT NULL, -- ns
      draining INTEGER NOT NULL,
      identity TEXT NOT NULL DEFAULT ''
    ) STRICT;`

  /** What databases of before it lack. */
  static readonly identityColumn = "ALTER TABLE nodes ADD COLUMN identity TEXT NOT NULL DEFAULT '';"

  readonly #counters: Counters
  readonly #byId
  readonly #byStore
  readonly #all
  readonly #put
  readonly #setKnown
  readonly #setUsage
  readonly #setDraining
  readonly #setIdentity
  readonly #delete

  constructor(db: Database, counters: Counters) {
    this.#counters = counters
    this.#byId = db.prepare<[bigint], Row>('SELECT * FROM nodes WHERE id = ?').safeIntegers()
    this.#byStore = db.prepare<[Uint8Array], Row>('SELECT * FROM nodes WHERE store = ?').safeIntegers()
    this.#all = db.prepare<[], Row>('SELECT * FROM nodes ORDER BY id').safeIntegers()
    this.#put = db.prepare(
      `INSERT OR REPLACE INTO nodes
         (id, store, key, incarnation, address, zone, host, total_bytes, used_bytes, known_sequence, seen, draining,
          identity)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    )
    this.#setKnown = db.prepare<[bigint, bigint]>('UPDATE nodes SET known_sequence = ? WHERE id = ?')
    this.#setUsage = db.prepare<[number, number, bigint, bigint]>(
      'UPDATE nodes SET total_bytes = ?, used_bytes = ?, seen = ? WHERE id = ?',
    )
    this.#setDraining = db.prepare<[number, bigint]>('UPDATE nodes SET draining = ? WHERE id = ?')
    this.#setIdentity = db.prepare<[string, bigint]>('UPDATE nodes SET identity = ? WHERE id = ?')
    this.#delete = db.prepare<[bigint]>('DELETE FROM nodes WHERE id = ?')
  }

  find(id: bigint): NodeRow | undefined {
    const row = this.#byId.get(id)
    return row === undefined ? undefined : fromRow(row)
  }

  byStore(store: Uint8Array): NodeRow | undefined {
    const row = this.#byStore.get(store)
    return row === undefined ? undefined : fromRow(row)
  }

  all(): NodeRow[] {
    return this.#all.all().map(fromRow)
  }

  issueId(): NodeId {
    return this.#counters.issue('node') as NodeId
  }

  /** A node registered for the first time, or again with other particulars. */
  registered(n: NodeRow): void {
    this.#put.run(
      n.id,
      n.store,
      n.key,
      n.incarnation,
      n.address,
      n.zone,
      n.host,
      n.totalBytes,
      n.usedBytes,
      n.knownSequence,
      n.seen,
      n.draining ? 1 : 0,
      n.identity,
    )
  }

  changesKnown(id: NodeId, sequence: bigint): void {
    this.#setKnown.run(sequence, id)
  }

  reported(id: NodeId, totalBytes: number, usedBytes: number, time: bigint): void {
    this.#setUsage.run(totalBytes, usedBytes, time, id)
  }

  setDraining(id: NodeId, draining: boolean): void {
    this.#setDraining.run(draining ? 1 : 0, id)
  }

  setIdentity(id: NodeId, identity: string): void {
    this.#setIdentity.run(identity, id)
  }

  removed(id: NodeId): void {
    this.#delete.run(id)
  }
}
