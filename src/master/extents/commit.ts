import { FsError } from '../../core/errors.ts'
import { type BlockKey, blockIdBytes, blockIdFromBytes } from '../../core/ids.ts'
import type { Commit, StoredBlock } from '../../wire/gen/cairn/v1/session.ts'
import { existing, existingFile, fileBytes, fileRange } from '../namespace/checks.ts'
import type { CommandContext, ResultOf, VerifiedReplica } from '../namespace/context.ts'
import { killPrivileges } from '../namespace/privileges.ts'
import { changeTime, settledTime } from '../namespace/times.ts'
import { blockState } from '../store/blocks.ts'
import type { ExtentRow } from '../store/extents.ts'
import { type Inode, wireAttr } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'
import { ExtentsEdit, resizeFile, rowEnd } from './extents-edit.ts'
import type { References } from './references.ts'

/** Extents of one commit. */
const extentsMax = 10_000

/** A block of the commit: in the store already, or to be added. */
interface Resolved {
  readonly key: BlockKey
  readonly length: number
  readonly replicas: readonly VerifiedReplica[]
  readonly newId: Uint8Array | undefined
}

/**
 * Puts written data into a file: all of it, or nothing if a block must be put again. ctime is set
 * if anything but atime changes; mtime only as the command says, since what stat(2) showed to the
 * writer is what must be committed.
 */
export function commit(store: Store, op: Commit, ctx: CommandContext): ResultOf<'commit'> {
  // Access times of directories and symlinks come as commits without data, too.
  const empty = op.extents.length === 0 && op.blocks.length === 0 && op.size === undefined
  const inode = empty ? existing(store, op.ino) : existingFile(store, op.ino)
  const resolved = op.blocks.map((stored, i) => resolve(store, stored, i, ctx))
  const again = resolved.flatMap((block, i) => (block === 'again' ? [i] : []))
  if (again.length > 0) return reply(inode, again, [])
  const blocks = shareEqualIds(store, resolved as Resolved[])
  const rows = toRows(op, blocks, op.append ? inode.size : 0)
  const end = rows.at(-1)
  const size =
    op.size === undefined ? Math.max(inode.size, end === undefined ? 0 : rowEnd(end)) : sizeAfter(op, end)

  const now = changeTime(inode, ctx.time)
  const edit = new ExtentsEdit(store, inode)
  recordBlocks(store, blocks, ctx.dedupDomain, edit.references)
  for (const row of rows) edit.clearFully(row.offset, rowEnd(row))
  for (const row of rows) edit.place(row)
  edit.finish(now)
  const resized = size !== inode.size
  if (resized) resizeFile(store, inode, size, now)
  if (op.killSuidgid) killPrivileges(store, inode)
  if (op.atime !== undefined) inode.atime = settledTime(op.atime, now)
  if (op.mtime !== undefined) inode.mtime = settledTime(op.mtime, now)
  // The time of the write, which stat(2) has shown since, unless the inode was changed after it.
  const changes = rows.length > 0 || resized || op.mtime !== undefined || op.killSuidgid
  if (changes && ctx.time > inode.ctime) inode.ctime = ctx.time
  store.inodes.save(inode)
  return reply(
    inode,
    [],
    blocks.map(block => block.key),
  )
}

const reply = (inode: Inode, again: number[], keys: bigint[]): ResultOf<'commit'> => ({
  $case: 'commit',
  value: { attr: wireAttr(inode), again, keys, early: false, tokens: [], tokensUntil: 0n },
})

function resolve(store: Store, stored: StoredBlock, index: number, ctx: CommandContext): Resolved | 'again' {
  checkStored(store, stored, index)
  const known = stored.key === 0n ? store.blocks.owner(stored.id) : store.blocks.byKey(stored.key)
  // Once it was told to a node to delete it, no reference may come back.
  if (stored.key !== 0n && (known === undefined || known.state === blockState.deleting)) return 'again'
  const verified = ctx.verify(stored)
  if (verified === 'again') return 'again'
  const replicas = [...new Map(verified.map(replica => [replica.node, replica])).values()]
  if (known === undefined) {
    if (replicas.length === 0) return 'again'
    return { key: store.blocks.issueKey(), length: stored.length, replicas, newId: stored.id }
  }
  if (stored.key === 0n && known.length !== stored.length) {
    throw new FsError(
      'EINVAL',
      `Block ${index} of the commit has ${known.length} bytes, not ${stored.length}`,
    )
  }
  return { key: known.key, length: known.length, replicas, newId: undefined }
}

function checkStored(store: Store, stored: StoredBlock, index: number): void {
  if (stored.key !== 0n) return
  if (stored.id.length !== blockIdBytes) throw new FsError('EINVAL', `Block ${index} of the commit has no id`)
  const { blockBytes } = store.format.facts
  if (stored.length >= 1 && stored.length <= blockBytes) return
  throw new FsError(
    'EINVAL',
    `Block ${index} of the commit has ${stored.length} bytes of at most ${blockBytes}`,
  )
}

/** Two new blocks of one content are one. */
function shareEqualIds(store: Store, resolved: readonly Resolved[]): Resolved[] {
  const byId = new Map<string, Resolved>()
  return resolved.map(block => {
    if (block.newId === undefined) return block
    const id = blockIdFromBytes(block.newId)
    const same = byId.get(id)
    if (same === undefined) byId.set(id, block)
    return same ?? block
  })
}

/** The extents in the order of offsets, which count from `base`. */
function toRows(op: Commit, blocks: readonly Resolved[], base: number): ExtentRow[] {
  if (op.extents.length > extentsMax) {
    throw new FsError('EINVAL', `A commit has at most ${extentsMax} extents, not ${op.extents.length}`)
  }
  const rows = op.extents.map(({ offset, length, block: index, blockOffset }, i) => {
    const block = blocks[index]
    if (block === undefined) throw new FsError('EINVAL', `Extent ${i} of the commit names no block of it`)
    const { from, to } = fileRange(offset + BigInt(base), length)
    if (from >= to || blockOffset + (to - from) > block.length) {
      throw new FsError('EINVAL', `Extent ${i} of the commit is not within its block`)
    }
    return { offset: from, length: to - from, block: block.key, blockOffset }
  })
  rows.sort((a, b) => a.offset - b.offset)
  rows.reduce((end, row) => {
    if (row.offset < end) throw new FsError('EINVAL', 'Extents of the commit overlap')
    return rowEnd(row)
  }, 0)
  return rows
}

function sizeAfter(op: Commit, last: ExtentRow | undefined): number {
  const size = fileBytes(op.size ?? 0n, 'The size')
  if (last !== undefined && rowEnd(last) > size) {
    throw new FsError('EINVAL', 'An extent of the commit ends beyond its size')
  }
  return size
}

function recordBlocks(
  store: Store,
  blocks: readonly Resolved[],
  domain: Uint8Array,
  references: References,
): void {
  for (const { key, length, replicas, newId } of blocks) {
    if (newId !== undefined) references.introduce(key, { id: newId, length, domain, replicas })
    else for (const { node, generation } of replicas) store.replicas.record(key, node, generation)
  }
}
