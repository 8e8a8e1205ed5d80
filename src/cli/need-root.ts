import { UsageError } from '../core/errors.ts'

/** Said before anything is started for a mount that could not be made. */
export function needRoot(instead = ''): void {
  if (process.getuid?.() !== 0) throw new UsageError(`mounting needs root: run it with sudo${instead}`)
}
