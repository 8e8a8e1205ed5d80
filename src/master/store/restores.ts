import type { Database } from 'better-sqlite3'
import type { NodeId } from '../../core/ids.ts'

/** This database was made from a backup. */
export interface Restore {
  readonly id: bigint
  /** When the backup was taken, cluster time, ns. */
  readonly taken: bigint
  /** When it was restored, ns: cluster time never falls below it. */
  readonly restored: bigint
  /** Nodes with an id from here to below `nodeTo` may have registered after the backup. */
  readonly nodeFrom: bigint
  readonly nodeTo: bigint
  /** Nobody said so: a node had been told more than the database knows. */
  readonly byHand: boolean
  /** When an operator confirmed it, ns; 0 until then. */
  readonly confirmed: bigint
}

interface Row {
  readonly id: bigint
  readonly taken: bigint
  readonly restored: bigint
  readonly node_from: bigint
  readonly node_to: bigint
  readonly by_hand: bigint
  readonly confirmed: bigint
}

const fromRow = ({ node_from, node_to, by_hand, ...rest }: Row): Restore => ({
  ...rest,
  nodeFrom: node_from,
  nodeTo: node_to,
  byHand: by_hand !== 0n,
})

/**
 * What the database does not know because it was restored from a backup.
 *
 * Until the last restore is confirmed nothing is removed anywhere: blocks that nobody here refers to may
 * belong to files that were written after the backup. A node is unverified until its whole inventory has
 * been compared once: rows about it may name copies that were deleted after the backup.
 */
export class Restores {
  static readonly schema = `
    CREATE TABLE restores (
      id INTEGER PRIMARY KEY,
      taken INTEGER NOT NULL, -- ns
      restored INTEGER NOT NULL, -- ns
      node_from INTEGER NOT NULL,
      node_to INTEGER NOT NULL,
      by_hand INTEGER NOT NULL, -- 1: an older file was found in place of the database
      confirmed INTEGER NOT NULL -- ns; 0: not yet
    ) STRICT;
    CREATE TABLE unverified (
      node INTEGER PRIMARY KEY
    ) STRICT;`

  #last: Restore | undefined
  readonly #unverified: Set<NodeId>
  readonly #insert
  readonly #confirm
  readonly #addNode
  readonly #dropNode

  constructor(db: Database) {
    const row = db.prepare<[], Row>('SELECT * FROM restores ORDER BY id DESC LIMIT 1').safeIntegers().get()
    if (row !== undefined) this.#last = fromRow(row)
    const nodes = db.prepare<[], bigint>('SELECT node FROM unverified').safeIntegers().pluck().all()
    this.#unverified = new Set(nodes as NodeId[])
    this.#insert = db.prepare<[bigint, bigint, bigint, bigint, bigint, number]>(
      `INSERT INTO restores (id, taken, restored, node_from, node_to, by_hand, confirmed)
       VALUES (?, ?, ?, ?, ?, ?, 0)`,
    )
    this.#confirm = db.prepare<[bigint, bigint]>('UPDATE restores SET confirmed = ? WHERE id = ?')
    this.#addNode = db.prepare<[bigint]>('INSERT OR IGNORE INTO unverified (node) VALUES (?)')
    this.#dropNode = db.prepare<[bigint]>('DELETE FROM unverified WHERE node = ?')
  }

  /** The last restore, confirmed or not. */
  get last(): Restore | undefined {
    return this.#last
  }

  /** The restore that nobody has confirmed yet. */
  get pending(): Restore | undefined {
    return this.#last?.confirmed === 0n ? this.#last : undefined
  }

  /** The database has just been restored; `nodes` are those that it knows. */
  began(restore: Omit<Restore, 'id' | 'confirmed'>, nodes: readonly NodeId[]): void {
    const id = (this.#last?.id ?? 0n) + 1n
    const { taken, restored, nodeFrom, nodeTo, byHand } = restore
    this.#insert.run(id, taken, restored, nodeFrom, nodeTo, byHand ? 1 : 0)
    this.#last = { ...restore, id, confirmed: 0n }
    for (const node of nodes) this.unverify(node)
  }

  confirm(time: bigint): void {
    if (this.#last === undefined) return
    this.#confirm.run(time, this.#last.id)
    this.#last = { ...this.#last, confirmed: time }
  }

  /** Whether a node that is not known may have got its id after the backup. */
  mayHaveIssued(node: bigint): boolean {
    const { pending } = this
    return pending !== undefined && node >= pending.nodeFrom && node < pending.nodeTo
  }

  get unverified(): ReadonlySet<NodeId> {
    return this.#unverified
  }

  isUnverified(node: NodeId): boolean {
    return this.#unverified.has(node)
  }

  unverify(node: NodeId): void {
    this.#unverified.add(node)
    this.#addNode.run(node)
  }

  /** All that the node has was compared with all that it should have. */
  verified(node: NodeId): void {
    this.#unverified.delete(node)
    this.#dropNode.run(node)
  }
}
