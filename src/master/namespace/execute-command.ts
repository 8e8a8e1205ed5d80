import { unreachable } from '../../core/assert.ts'
import { ino } from '../../core/ids.ts'
import { cloneRange } from '../extents/clone-range.ts'
import { commit } from '../extents/commit.ts'
import { punchRange } from '../extents/punch-range.ts'
import type { CommandOp } from '../../wire/commands.ts'
import type { Store } from '../store/store.ts'
import type { CommandContext, Result } from './context.ts'
import { create } from './create.ts'
import { checkUnshared, closeOrphan } from './lifetime.ts'
import { link } from './link.ts'
import { rename } from './rename.ts'
import { setAttr } from './set-attr.ts'
import { unlink } from './unlink.ts'
import { removeXattr, setXattr } from './xattr.ts'

/**
 * Applies one command to the store: a function of (store, command, context) alone. Runs inside a
 * savepoint of the caller, who rolls it back when this throws (FsError with the errno that ext4
 * gives). The kernel has checked permissions.
 */
export function executeCommand(store: Store, op: CommandOp, ctx: CommandContext): Result {
  switch (op.$case) {
    case 'create':
      return create(store, op.value, ctx)
    case 'link':
      return link(store, op.value, ctx)
    case 'unlink':
      return unlink(store, op.value, ctx)
    case 'rename':
      return rename(store, op.value, ctx)
    case 'setAttr':
      return setAttr(store, op.value, ctx)
    case 'setXattr':
      return setXattr(store, op.value, ctx)
    case 'removeXattr':
      return removeXattr(store, op.value, ctx)
    case 'commit':
      return commit(store, op.value, ctx)
    case 'cloneRange':
      return cloneRange(store, op.value, ctx)
    case 'punchRange':
      return punchRange(store, op.value, ctx)
    case 'closeOrphan':
      if (op.value.unsent) checkUnshared(store, ino(op.value.ino), ctx.session)
      closeOrphan(store, ino(op.value.ino), ctx.session, ctx.time)
      return { $case: 'done', value: {} }
    default:
      return unreachable(op)
  }
}
