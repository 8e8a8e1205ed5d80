import type { Database } from 'better-sqlite3'
import type { BlockKey, Generation, NodeId } from '../../core/ids.ts'

/** A copy that its node, a reader or a repair found bad. */
export interface BadCopy {
  readonly block: BlockKey
  readonly node: NodeId
  readonly generation: Generation
  /** What was wrong with it. */
  readonly what: string
  /** Cluster time when it was found, ns. */
  readonly since: bigint
}

interface Row {
  readonly block: bigint
  readonly node: bigint
  readonly generation: bigint
  readonly what: string
  readonly since: bigint
}

const fromRow = ({ block, node, generation, what, since }: Row): BadCopy => ({
  block: block as BlockKey,
  node: node as NodeId,
  generation: generation as Generation,
  what,
  since,
})

/**
 * Quarantine: copies that do not count. A row means something only while the node's replica has its generation; without a
 * replica it waits for the node to say that the copy is deleted.
 */
export class BadCopies {
  static readonly schema = `
    CREATE TABLE bad_copies (
      block INTEGER NOT NULL, -- blocks.key
      node INTEGER NOT NULL,
      generation INTEGER NOT NULL,
      what TEXT NOT NULL,
      since INTEGER NOT NULL, -- ns
      PRIMARY KEY (block, node)
    ) STRICT, WITHOUT ROWID;`

  readonly #all
  readonly #put
  readonly #delete
  readonly #deleteOne
  readonly #deleteNode

  constructor(db: Database) {
    this.#all = db.prepare<[], Row>('SELECT * FROM bad_copies').safeIntegers()
    this.#put = db.prepare<[bigint, bigint, bigint, string, bigint]>(
      'INSERT OR REPLACE INTO bad_copies (block, node, generation, what, since) VALUES (?, ?, ?, ?, ?)',
    )
    this.#delete = db.prepare<[bigint]>('DELETE FROM bad_copies WHERE block = ?')
    this.#deleteOne = db.prepare<[bigint, bigint]>('DELETE FROM bad_copies WHERE block = ? AND node = ?')
    this.#deleteNode = db.prepare<[bigint]>('DELETE FROM bad_copies WHERE node = ?')
  }

  all(): BadCopy[] {
    return this.#all.all().map(fromRow)
  }

  found({ block, node, generation, what, since }: BadCopy): void {
    this.#put.run(block, node, generation, what, since)
  }

  /** The block is whole without them, or gone. */
  settled(block: BlockKey): void {
    this.#delete.run(block)
  }

  /** The node has another instance of it, or none. */
  gone(block: BlockKey, node: NodeId): void {
    this.#deleteOne.run(block, node)
  }

  nodeRemoved(node: NodeId): void {
    this.#deleteNode.run(node)
  }
}
