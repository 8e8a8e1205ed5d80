import { FsError } from '../../core/errors.ts'
import type { PunchRange } from '../../wire/gen/cairn/v1/session.ts'
import { existingFile, fileRange } from '../namespace/checks.ts'
import type { CommandContext, ResultOf } from '../namespace/context.ts'
import { killPrivileges } from '../namespace/privileges.ts'
import { touchContent } from '../namespace/times.ts'
import { wireAttr } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'
import { ExtentsEdit } from './extents-edit.ts'

/**
 * fallocate(2): a hole, or growth, or both. Space that was allocated and not written is not kept
 * apart: it is only checked that there is some.
 */
export function punchRange(store: Store, op: PunchRange, ctx: CommandContext): ResultOf<'attr'> {
  const inode = existingFile(store, op.ino)
  if (op.length === 0n) throw new FsError('EINVAL', 'The range is empty')
  const { from, to } = fileRange(op.offset, op.length)
  if (op.allocateOnly) {
    if (!ctx.hasSpace(to - from, inode.copies)) throw new FsError('ENOSPC')
  } else {
    const edit = new ExtentsEdit(store, inode)
    edit.clear(from, to)
    edit.finish(ctx.time)
  }
  if (op.grow) inode.size = Math.max(inode.size, to)
  if (op.killSuidgid) killPrivileges(store, inode)
  touchContent(inode, ctx.time)
  store.inodes.save(inode)
  return { $case: 'attr', value: { attr: wireAttr(inode) } }
}
