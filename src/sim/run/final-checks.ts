import { blockIdFromBytes } from '../../core/ids.ts'
import { fsck } from '../../master/fsck/fsck.ts'
import { blockState } from '../../master/store/blocks.ts'
import type { Store } from '../../master/store/store.ts'
import type { Cluster } from './cluster.ts'

/** What a session that does nothing any more may leave unacknowledged. */
const repliesPerSession = 4

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

/** What is kept though nobody needs it any more, once all sessions have ended. */
export function keptForNobody(store: Store): string | undefined {
  const tables = ['sessions', 'replies', 'ino_ranges', 'bad_copies', 'goals']
  for (const table of tables) {
    const left = Number(store.db.prepare(`SELECT count(*) FROM ${table}`).pluck().get())
    if (left > 0) return `${left} rows of ${table} are kept`
  }
  return undefined
}

/** Of sessions that live and are quiet: replies that were acknowledged are gone. */
export function keptReplies(store: Store): string | undefined {
  const [sessions, replies] = ['sessions', 'replies'].map(table =>
    Number(store.db.prepare(`SELECT count(*) FROM ${table}`).pluck().get()),
  ) as [number, number]
  return replies <= repliesPerSession * sessions
    ? undefined
    : `${replies} replies are kept for ${sessions} sessions`
}

/** What each node has on its disk and needs no more. */
export async function leftovers(cluster: Cluster): Promise<string | undefined> {
  for (const node of cluster.nodes) {
    const left = await node.leftovers()
    if (left !== undefined) return `${node.name} ${left}`
  }
  return undefined
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
