import type { Store } from '../store/store.ts'
import type { QueryContext, QueryOp, Result } from './context.ts'

/** Answers a question from the store. Changes nothing. Throws FsError. */
export function executeQuery(_store: Store, op: QueryOp, _ctx: QueryContext): Result {
  throw new Error(`${op.$case} is not there yet`)
}
