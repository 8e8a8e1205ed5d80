import type { Checksums } from '../../core/checksum.ts'
import { type Outcome, Run } from './run.ts'
import { SharedRun } from './shared-run.ts'
import { type PlanOptions, planOf } from './plan.ts'

export interface SeedOptions extends PlanOptions {
  readonly trace?: (line: string) => void
}

/** Runs one seed. A promise that nobody looks after and that rejects meanwhile is a failure of this run. */
export async function runSeed(
  seed: number,
  checksums: Checksums,
  options: SeedOptions = {},
): Promise<Outcome> {
  const plan = planOf(seed, options)
  const run = new (plan.shared ? SharedRun : Run)(plan, checksums, options.trace)
  const onRejection = (error: unknown) => run.bug(error)
  process.on('unhandledRejection', onRejection)
  try {
    return await run.run()
  } finally {
    process.off('unhandledRejection', onRejection)
  }
}
