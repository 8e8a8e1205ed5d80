import type { Database } from 'better-sqlite3'
import type { BlockKey, Generation, NodeId } from '../../core/ids.ts'
import type { Blocks } from './blocks.ts'

export interface Replica {
  readonly node: NodeId
  readonly generation: Generation
}

/** A copy on some node, with what it is a copy of. */
export interface Instance {
  readonly key: BlockKey
  readonly id: Buffer
  readonly generation: Generation
  readonly length: number
}

type Row = readonly [node: bigint, generation: bigint]
type InstanceRow = readonly [key: bigint, id: Buffer, generation: bigint, length: bigint]
type BlockRow = readonly [block: bigint, generation: bigint]

/** Which node has which instance of a block on stable storage, by its receipts and inventory. */
export class Replicas {
  static readonly schema = `
    CREATE TABLE replicas (
      block INTEGER NOT NULL, -- blocks.key
      node INTEGER NOT NULL,
      generation INTEGER NOT NULL,
      PRIMARY KEY (block, node)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX replicas_by_node ON replicas (node);`

  readonly #blocks: Blocks
  readonly #of
  readonly #one
  readonly #ofNode
  readonly #between
  readonly #betweenDeleting
  readonly #usage
  readonly #put
  readonly #delete

  constructor(db: Database, blocks: Blocks) {
    this.#blocks = blocks
    this.#of = db
      .prepare<[bigint], Row>('SELECT node, generation FROM replicas WHERE block = ?')
      .safeIntegers()
      .raw()
    this.#one = db
      .prepare<[bigint, bigint], bigint>('SELECT generation FROM replicas WHERE block = ? AND node = ?')
      .safeIntegers()
      .pluck()
    this.#ofNode = db
      .prepare<[bigint, bigint, number], BlockRow>(
        'SELECT block, generation FROM replicas WHERE node = ? AND block > ? ORDER BY block LIMIT ?',
      )
      .safeIntegers()
      .raw()
    const instances = (states: string) =>
      db
        .prepare<[bigint, Uint8Array, Uint8Array], InstanceRow>(
          `SELECT key, id, generation, length FROM blocks JOIN replicas ON block = key AND node = ?
           WHERE ${states} AND id BETWEEN ? AND ?`,
        )
        .safeIntegers()
        .raw()
    this.#between = instances('state < 2')
    this.#betweenDeleting = instances('state = 2 AND state > 0')
    this.#usage = db
      .prepare<[bigint], readonly [count: number, bytes: number | null]>(
        'SELECT count(*), sum(length) FROM replicas JOIN blocks ON key = block WHERE node = ? AND state = 0',
      )
      .raw()
    this.#put = db.prepare<[bigint, bigint, bigint]>(
      `INSERT INTO replicas (block, node, generation) VALUES (?, ?, ?)
       ON CONFLICT DO UPDATE SET generation = excluded.generation`,
    )
    this.#delete = db.prepare<[bigint, bigint]>('DELETE FROM replicas WHERE block = ? AND node = ?')
  }

  of(block: BlockKey): Replica[] {
    return this.#of
      .all(block)
      .map(([node, generation]) => ({ node: node as NodeId, generation: generation as Generation }))
  }

  generationOn(block: BlockKey, node: NodeId): Generation | undefined {
    return this.#one.get(block, node) as Generation | undefined
  }

  /** A node has an instance. The newest one counts: a node keeps one instance of a block. */
  record(block: BlockKey, node: NodeId, generation: Generation): void {
    const known = this.generationOn(block, node)
    if (known !== undefined && known >= generation) return
    this.#put.run(block, node, generation)
    if (known === undefined) this.#blocks.adjustHave(block, 1)
  }

  /** The first rows of a new block, which counts them itself (Block.have). Nodes are distinct. */
  recordNew(block: BlockKey, replicas: readonly Replica[]): void {
    for (const { node, generation } of replicas) this.#put.run(block, node, generation)
  }

  /** A node has the block no more. */
  forget(block: BlockKey, node: NodeId): void {
    if (this.#delete.run(block, node).changes > 0) this.#blocks.adjustHave(block, -1)
  }

  /** What a node should have, in the order of block keys. */
  ofNode(
    node: NodeId,
    after: bigint,
    limit: number,
  ): { readonly block: BlockKey; readonly generation: Generation }[] {
    return this.#ofNode
      .all(node, after, limit)
      .map(([block, generation]) => ({ block: block as BlockKey, generation: generation as Generation }))
  }

  /** Blocks in use of which the node has a copy; reads all of its rows. */
  usageOf(node: NodeId): { readonly blocks: number; readonly bytes: number } {
    const [blocks, bytes] = this.#usage.get(node) ?? [0, 0]
    return { blocks, bytes: bytes ?? 0 }
  }

  /** What a node should have of the blocks with from <= id <= to, those being deleted included. */
  between(node: NodeId, from: Uint8Array, to: Uint8Array): Instance[] {
    const rows = [...this.#between.all(node, from, to), ...this.#betweenDeleting.all(node, from, to)]
    return rows.map(([key, id, generation, length]) => ({
      key: key as BlockKey,
      id,
      generation: generation as Generation,
      length: Number(length),
    }))
  }
}
