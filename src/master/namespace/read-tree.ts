import { isDirectory } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import { directoriesAtOnce } from '../../core/limits.ts'
import type { ReadTree, TreeDirectory } from '../../wire/gen/cairn/v1/session.ts'
import { wireAttr } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'
import { existing } from './checks.ts'
import type { QueryContext, ResultOf } from './context.ts'

/** Entries in one answer, some 150 bytes each; the last directory may bring a few more. */
const entriesMax = 4096
/** A directory of more is left to who wants it. */
const entriesOfOneMax = 500
const entriesInVain = 50

/** Directories with what is in them, in the order in which who walks through the tree comes by. */
export function readTree(store: Store, op: ReadTree, ctx: QueryContext): ResultOf<'readTree'> {
  if (op.inos.length > directoriesAtOnce)
    throw new FsError('EINVAL', `At most ${directoriesAtOnce} directories can be asked for at once`)
  const limit = op.limit === 0 ? directoriesAtOnce : Math.min(op.limit, directoriesAtOnce)
  const directories: TreeDirectory[] = []
  const next = [...new Set(op.inos)].reverse()
  for (let entries = 0; directories.length < limit && entries < entriesMax; ) {
    const ino = next.pop()
    if (ino === undefined) break
    const found = whole(store, ino as Ino, ctx)
    // To look at one in vain is work, too.
    entries += found?.entries.length ?? entriesInVain
    if (found === undefined) continue
    directories.push(found)
    if (!op.below) continue
    for (const entry of found.entries.toReversed()) if (isDirectory(entry.type)) next.push(entry.ino)
  }
  return { $case: 'readTree', value: { directories } }
}

function whole(store: Store, ino: Ino, ctx: QueryContext): TreeDirectory | undefined {
  const directory = ctx.isSettled(ino) ? store.inodes.find(ino) : undefined
  if (directory === undefined || !isDirectory(directory.mode)) return undefined
  const found = store.dirents.list(ino, 0n, entriesOfOneMax + 1)
  if (found.length > entriesOfOneMax) return undefined
  const entries = found.map(entry => ({
    ...entry,
    attr: ctx.isSettled(entry.ino) ? wireAttr(existing(store, entry.ino)) : undefined,
  }))
  return { ino, entries, parent: directory.parent }
}
