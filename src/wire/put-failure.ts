import { FsError } from '../core/errors.ts'
import type { PutOutcome } from './gen/cairn/v1/blocks.ts'

/** The first failure of a put, if any copy failed. */
export function putFailure(outcomes: readonly PutOutcome[]): string | undefined {
  const error = outcomes.find(outcome => outcome.error !== undefined)?.error
  return error === undefined ? undefined : FsError.fromErrno(error.errno).code
}
