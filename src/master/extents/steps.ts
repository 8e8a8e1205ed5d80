/** Work that commands left behind, done in steps; each within a transaction of the caller. */
import { inodeFlag } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'
import type { Ino } from '../../core/ids.ts'
import { fileBytesMax } from '../../core/limits.ts'
import { rowEnd } from './extents-edit.ts'
import { References } from './references.ts'

/** Removes up to `budgetRows` extents of doomed ranges. True if more is left. */
export function stepDoomed(store: Store, budgetRows: number, time: bigint): boolean {
  const range = store.doomed.first()
  if (range === undefined) return false
  const rows = store.extents.within(range.ino, range.start, range.end, budgetRows)
  const last = rows.at(-1)
  const done = rows.length < budgetRows || last === undefined ? range.end : rowEnd(last)
  const references = new References()
  for (const row of rows) references.change(row.block, -1)
  store.extents.removeWithin(range.ino, range.start, done)
  references.apply(store, 0, time)
  store.doomed.subtract(range.ino, range.start, done)
  settleInode(
    store,
    range.ino,
    rows.reduce((sum, row) => sum + row.length, 0),
  )
  return store.doomed.first() !== undefined
}

/** The inode (if it is still there) has so many bytes less. */
function settleInode(store: Store, ino: Ino, freed: number): void {
  const inode = store.inodes.find(ino)
  if (inode === undefined) return
  inode.allocated -= freed
  if (store.doomed.overlapping(ino, 0, fileBytesMax).length === 0) inode.flags &= ~inodeFlag.doomed
  store.inodes.save(inode)
}

/**
 * Tells up to `budgetRows` extents' blocks of the new number of copies of their file. A block that
 * other files refer to as well keeps the higher goal: it is lowered only when every reference to it
 * was seen in this step, so that it may stay higher than needed but never lower. True if more is left.
 */
export function stepGoals(store: Store, budgetRows: number): boolean {
  const goal = store.goals.first()
  if (goal === undefined) return false
  const inode = store.inodes.find(goal.ino)
  const rows = inode === undefined ? [] : store.extents.within(goal.ino, goal.next, fileBytesMax, budgetRows)
  const seen = new Map<bigint, number>()
  for (const row of rows) seen.set(row.block, (seen.get(row.block) ?? 0) + 1)
  for (const [key, count] of seen) {
    const block = store.blocks.byKey(key)
    if (block === undefined || inode === undefined) continue
    const lower = inode.copies < block.wanted && count === block.refs
    if (lower || inode.copies > block.wanted) store.blocks.setWanted(block.key, inode.copies)
  }
  const last = rows.at(-1)
  if (rows.length < budgetRows || last === undefined) store.goals.done(goal.ino)
  else store.goals.pending(goal.ino, rowEnd(last))
  return store.goals.first() !== undefined
}
