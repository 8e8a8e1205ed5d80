import type { Store } from '../store/store.ts'
import type { CommandContext, CommandOp, Result } from './context.ts'

/**
 * Applies one command to the store: a function of (store, command, context) alone. Runs inside a
 * savepoint of the caller, who rolls it back when this throws (FsError with the errno that ext4
 * gives). The order of checks is the kernel's.
 */
export function executeCommand(_store: Store, op: CommandOp, _ctx: CommandContext): Result {
  throw new Error(`${op.$case} is not there yet`)
}
