import type { Database } from 'better-sqlite3'
import type { NodeId } from '../../core/ids.ts'

/** What an operator calls a node: a rack and a slot, say. Nothing goes by it. */
export class NodeLabels {
  static readonly schema = `
    CREATE TABLE node_labels (
      node INTEGER PRIMARY KEY,
      label TEXT NOT NULL
    ) STRICT;`

  readonly #byNode: Map<NodeId, string>
  readonly #put
  readonly #delete

  constructor(db: Database) {
    const all = db.prepare<[], { readonly node: bigint; readonly label: string }>(
      'SELECT node, label FROM node_labels',
    )
    this.#byNode = new Map(
      all
        .safeIntegers()
        .all()
        .map(({ node, label }) => [node as NodeId, label]),
    )
    this.#put = db.prepare<[bigint, string]>('INSERT OR REPLACE INTO node_labels (node, label) VALUES (?, ?)')
    this.#delete = db.prepare<[bigint]>('DELETE FROM node_labels WHERE node = ?')
  }

  /** Empty if it has none. */
  of(node: NodeId): string {
    return this.#byNode.get(node) ?? ''
  }

  /** Empty: none any more. */
  set(node: NodeId, label: string): void {
    if (label === '') {
      this.#byNode.delete(node)
      this.#delete.run(node)
    } else {
      this.#byNode.set(node, label)
      this.#put.run(node, label)
    }
  }
}
