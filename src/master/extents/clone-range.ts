import { FsError } from '../../core/errors.ts'
import type { CloneRange } from '../../wire/gen/cairn/v1/session.ts'
import { existingFile, fileBytes } from '../namespace/checks.ts'
import type { CommandContext, ResultOf } from '../namespace/context.ts'
import { killPrivileges } from '../namespace/privileges.ts'
import { touchContent } from '../namespace/times.ts'
import type { ExtentRow } from '../store/extents.ts'
import { type Inode, wireAttr } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'
import { ExtentsEdit, liveRows, rowEnd, rowFrom } from './extents-edit.ts'

/** copy_file_range(2) without data: the target shares the source's extents, a step at a time. */
export function cloneRange(store: Store, op: CloneRange, ctx: CommandContext): ResultOf<'clone'> {
  const to = existingFile(store, op.to)
  const from = op.from === op.to ? to : existingFile(store, op.from)
  const start = fileBytes(op.fromOffset, 'The source offset')
  const at = fileBytes(op.toOffset, 'The target offset')
  const asked = Math.max(0, Math.min(Number(op.length), from.size - start))
  fileBytes(BigInt(at) + BigInt(asked), 'The end of the target')
  if (from === to && at < start + asked && start < at + asked) {
    throw new FsError('EINVAL', 'Source and target overlap')
  }
  const bytes = asked === 0 ? 0 : cloneStep(store, from, start, to, at, asked, ctx)
  if (bytes > 0) {
    to.size = Math.max(to.size, at + bytes)
    if (op.killSuidgid) killPrivileges(store, to)
    touchContent(to, ctx.time)
    store.inodes.save(to)
  }
  return { $case: 'clone', value: { attr: wireAttr(to), bytes: BigInt(bytes) } }
}

/** As much of the range as a command may do; at least one extent, since otherwise nobody would get on. */
function cloneStep(
  store: Store,
  from: Inode,
  start: number,
  to: Inode,
  at: number,
  asked: number,
  ctx: CommandContext,
): number {
  const limit = Math.ceil(store.rowsPerCommand / 2)
  const source = liveRows(store, from, start, start + asked, limit)
  // Doomed rows count too: they have to go where new ones come.
  const replaced = store.extents.within(to.ino, at, at + asked, limit + 1)
  const bytes = Math.min(source.end - start, (replaced[limit]?.offset ?? at + asked) - at)
  const edit = new ExtentsEdit(store, to)
  edit.clearFully(at, at + bytes)
  for (const row of source.rows) {
    if (row.offset < start + bytes) edit.place(shifted(clipped(row, start, start + bytes), at - start))
  }
  edit.finish(ctx.time)
  return bytes
}

function clipped(row: ExtentRow, from: number, to: number): ExtentRow {
  const head = rowFrom(row, Math.max(row.offset, from))
  return { ...head, length: Math.min(rowEnd(row), to) - head.offset }
}

const shifted = (row: ExtentRow, by: number): ExtentRow => ({ ...row, offset: row.offset + by })
