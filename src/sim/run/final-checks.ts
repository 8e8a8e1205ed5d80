import { blockIdFromBytes } from '../../core/ids.ts'
import { fsck } from '../../master/fsck/fsck.ts'
import { blockState } from '../../master/store/blocks.ts'
import type { Store } from '../../master/store/store.ts'
import type { Cluster } from './cluster.ts'

interface BlockLine {
  readonly id: Buffer
  readonly wanted: number
  readonly have: number
}

/** What still has to be done until the cluster is as it should be; undefined when nothing. */
export function unfinished(store: Store): string | undefined {
  const count = (sql: string) => Number(store.db.prepare(sql).pluck().get())
  const short = store.db
    .prepare<[], BlockLine>(
      `SELECT id, wanted, have FROM blocks WHERE state = ${blockState.live} AND have < wanted LIMIT 1`,
    )
    .get()
  if (short !== undefined)
    return `block ${blockIdFromBytes(short.id)} has ${short.have} copies of ${short.wanted}`
  for (const table of ['doomed', 'orphans', 'strays']) {
    const left = count(`SELECT count(*) FROM ${table}`)
    if (left > 0) return `${left} rows of ${table} are left`
  }
  const leaving = store.db
    .prepare<[], { state: number; count: number; rows: number }>(
      `SELECT state, count(*) AS count, sum((SELECT count(*) FROM replicas WHERE block = key)) AS rows
       FROM blocks WHERE state <> ${blockState.live} GROUP BY state`,
    )
    .all()
    .map(({ state, count: blocks, rows }) => `${blocks} in state ${state} with ${rows} copies`)
  return leaving.length > 0 ? `blocks without references are left: ${leaving.join(', ')}` : undefined
}

/** Lines about metadata that contradicts itself. */
export function checkMetadata(store: Store): string[] {
  return fsck(store).problems
}

/** Every copy that the master counts must be on its node, whole and right. */
export async function checkCopies(cluster: Cluster): Promise<string | undefined> {
  const rows = cluster.master.inspect(store =>
    store.db
      .prepare<[], { id: Buffer; address: string }>(
        `SELECT b.id, n.address FROM blocks b JOIN replicas r ON r.block = b.key JOIN nodes n ON n.id = r.node
         WHERE b.state = ${blockState.live} ORDER BY b.key, n.id`,
      )
      .all(),
  )
  for (const { id, address } of rows) {
    const node = cluster.nodes.find(({ name }) => address.startsWith(`${name}:`))
    if (node === undefined) return `no node at ${address}`
    const wrong = await node.holds(blockIdFromBytes(id))
    if (wrong !== undefined) return `${node.name} ${wrong}`
  }
  return undefined
}
