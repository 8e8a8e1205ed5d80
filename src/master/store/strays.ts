import type { Database } from 'better-sqlite3'
import type { Generation, NodeId } from '../../core/ids.ts'

export interface Stray {
  readonly node: NodeId
  readonly id: Buffer
  readonly generation: Generation
  readonly length: number
  /** When the master first heard of it, ns. */
  readonly since: bigint
}

export interface StrayCount {
  readonly node: NodeId
  readonly count: bigint
  readonly bytes: bigint
  /** Of the oldest, ns. */
  readonly since: bigint
}

interface Row {
  readonly node: bigint
  readonly id: Buffer
  readonly generation: bigint
  readonly length: bigint
  readonly since: bigint
}

const fromRow = ({ node, id, generation, length, since }: Row): Stray => ({
  node: node as NodeId,
  id,
  generation: generation as Generation,
  length: Number(length),
  since,
})

/**
 * Instances that a node has and no replicas row names: puts whose commit has not come (yet). They go
 * only after every session epoch that could hold a receipt or pin of them has ended.
 */
export class Strays {
  static readonly schema = `
    CREATE TABLE strays (
      node INTEGER NOT NULL,
      id BLOB NOT NULL, -- SHA-256
      generation INTEGER NOT NULL,
      length INTEGER NOT NULL,
      since INTEGER NOT NULL, -- ns
      PRIMARY KEY (node, id, generation)
    ) STRICT, WITHOUT ROWID;`

  readonly #has
  readonly #older
  readonly #between
  readonly #byNode
  readonly #insert
  readonly #delete
  readonly #deleteNode

  constructor(db: Database) {
    this.#has = db
      .prepare<[bigint, Uint8Array, bigint], number>(
        'SELECT 1 FROM strays WHERE node = ? AND id = ? AND generation = ?',
      )
      .pluck()
    this.#older = db
      .prepare<[bigint, bigint, number], Row>('SELECT * FROM strays WHERE node = ? AND since <= ? LIMIT ?')
      .safeIntegers()
    this.#between = db
      .prepare<[bigint, Uint8Array, Uint8Array], Row>(
        'SELECT * FROM strays WHERE node = ? AND id BETWEEN ? AND ?',
      )
      .safeIntegers()
    this.#byNode = db
      .prepare<[number], StrayCount>(
        `SELECT node, count(*) AS count, sum(length) AS bytes, min(since) AS since
         FROM (SELECT node, length, since FROM strays LIMIT ?) GROUP BY node`,
      )
      .safeIntegers()
    this.#insert = db.prepare<[bigint, Uint8Array, bigint, number, bigint]>(
      'INSERT OR IGNORE INTO strays (node, id, generation, length, since) VALUES (?, ?, ?, ?, ?)',
    )
    this.#delete = db.prepare<[bigint, Uint8Array, bigint]>(
      'DELETE FROM strays WHERE node = ? AND id = ? AND generation = ?',
    )
    this.#deleteNode = db.prepare<[bigint]>('DELETE FROM strays WHERE node = ?')
  }

  seen(stray: Omit<Stray, 'id'> & { readonly id: Uint8Array }): void {
    this.#insert.run(stray.node, stray.id, stray.generation, stray.length, stray.since)
  }

  has(node: NodeId, id: Uint8Array, generation: Generation): boolean {
    return this.#has.get(node, id, generation) !== undefined
  }

  /** Those of a node that are known since `until` or longer. */
  olderThan(node: NodeId, until: bigint, limit: number): Stray[] {
    return this.#older.all(node, until, limit).map(fromRow)
  }

  /** Committed after all, or gone from the node. False if it was no stray. */
  settled(node: NodeId, id: Uint8Array, generation: Generation): boolean {
    return this.#delete.run(node, id, generation).changes > 0
  }

  /** Those of a node with from <= id <= to. */
  between(node: NodeId, from: Uint8Array, to: Uint8Array): Stray[] {
    return this.#between.all(node, from, to).map(fromRow)
  }

  /** What each node has, of the first `limit` rows. */
  byNode(limit: number): { readonly nodes: readonly StrayCount[]; readonly more: boolean } {
    const nodes = this.#byNode.all(limit)
    return { nodes, more: nodes.reduce((sum, { count }) => sum + count, 0n) === BigInt(limit) }
  }

  nodeRemoved(node: NodeId): void {
    this.#deleteNode.run(node)
  }
}
