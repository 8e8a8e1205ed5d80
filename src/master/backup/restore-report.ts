/** What a restored database lacks, and what the nodes have that it does not know. Nothing is changed. */
import { must } from '../../core/assert.ts'
import { rootIno } from '../../core/ids.ts'
import type { RestoreStatusReply } from '../../wire/gen/cairn/v1/admin.ts'
import type { Store } from '../store/store.ts'

/** Damaged files that are named. */
const filesMax = 20
const levelsMax = 4096

export function restoreReport(store: Store): RestoreStatusReply {
  const { db, restores } = store
  const { last } = restores
  const sums = db
    .prepare<[], [bigint, bigint, bigint]>(
      'SELECT node, count(*), sum(length) FROM strays GROUP BY node ORDER BY node',
    )
    .safeIntegers()
    .raw()
    .all()
  const [surplusBlocks, surplusBytes] = countAndSum(
    db,
    'SELECT count(*), coalesce(sum(length), 0) FROM (SELECT id, max(length) AS length FROM strays GROUP BY id)',
  )
  const [missingBlocks, missingBytes] = countAndSum(
    db,
    `SELECT count(*), coalesce(sum(length), 0) FROM blocks WHERE ${lost}`,
  )
  return {
    pending: restores.pending !== undefined,
    byHand: last?.byHand ?? false,
    taken: last?.taken ?? 0n,
    restored: last?.restored ?? 0n,
    confirmed: last?.confirmed ?? 0n,
    unverified: [...restores.unverified].map(id => ({
      node: id,
      address: store.nodes.find(id)?.address ?? '',
    })),
    surplus: sums.map(([node, blocks, bytes]) => ({ node, blocks, bytes })),
    surplusBlocks,
    surplusBytes,
    missingBlocks,
    missingBytes,
    ...(missingBlocks === 0n ? { files: [], moreFiles: false } : damagedFiles(store)),
  }
}

/** Live blocks without any copy; in the words of the index on short ones. */
const lost = 'state = 0 AND have < wanted AND have = 0'

function countAndSum(db: Store['db'], sql: string): readonly [count: bigint, sum: bigint] {
  return must(db.prepare<[], [bigint, bigint]>(sql).safeIntegers().raw().get(), 'row of an aggregate')
}

function damagedFiles(store: Store): { readonly files: Buffer[]; readonly moreFiles: boolean } {
  const { db } = store
  const inos = db
    .prepare<[number], bigint>(
      `SELECT DISTINCT ino FROM extents WHERE block IN (SELECT key FROM blocks WHERE ${lost}) LIMIT ?`,
    )
    .safeIntegers()
    .pluck()
    .all(filesMax + 1)
  const names = db.prepare<[string], [bigint, bigint, Buffer]>(
    'SELECT ino, parent, name FROM dirents WHERE ino IN (SELECT value FROM json_each(?))',
  )
  const found = new Map<bigint, { readonly parent: bigint; readonly name: Buffer }>()
  for (const [ino, parent, name] of names.safeIntegers().raw().all(`[${inos.join()}]`))
    found.set(ino, { parent, name })
  const files = inos.slice(0, filesMax).map(ino => {
    const entry = found.get(ino)
    return entry === undefined
      ? Buffer.from(`inode ${ino} (without a name)`)
      : Buffer.concat([folderPath(store, entry.parent), entry.name])
  })
  return { files, moreFiles: inos.length > filesMax }
}

/** Ends with a slash. */
function folderPath(store: Store, ino: bigint): Buffer {
  const parts: Uint8Array[] = [Buffer.from('/')]
  for (let level = 0, at = ino; at !== rootIno && level < levelsMax; level++) {
    const parent = store.inodes.parentOf(at as typeof rootIno)
    const name = parent === undefined ? undefined : store.dirents.nameOf(parent, at as typeof rootIno)
    if (parent === undefined || name === undefined) return Buffer.from('?/')
    parts.unshift(Buffer.from('/'), name)
    at = parent
  }
  return Buffer.concat(parts)
}
