import test from 'ava'
import { createChecksums } from '#src/core/checksum.ts'
import type { PlanOptions } from '#src/sim/run/plan.ts'
import { runSeed } from '#src/sim/run/run-seed.ts'

const argumentsOf = ({ mounts, shared, disaster, focus }: PlanOptions): string =>
  `${mounts === undefined ? '' : ` --mounts ${mounts}`}${shared === true ? ' --shared' : ''}${disaster === true ? ' --disaster' : ''}${focus === undefined ? '' : ` --focus ${focus}`}`

/**
 * Shared seeds that show faults of the product which are not mended yet: none. `make sim SHARED=1` runs them, too.
 */
export const openSharedSeeds: ReadonlySet<number> = new Set()

/** One test for each ten seeds: ava hears of progress, and a failure names the seed. */
export function seedTests(from: number, count: number, options: PlanOptions = {}): void {
  for (let first = from; first < from + count; first += 10) {
    const last = Math.min(first + 10, from + count) - 1
    test.serial(
      `seeds ${first} to ${last}${options.focus === undefined ? '' : ` (${options.focus})`}`,
      async t => {
        const checksums = await createChecksums()
        for (let seed = first; seed <= last; seed++) {
          if (options.shared === true && openSharedSeeds.has(seed)) continue
          const { failure, undecided } = await runSeed(seed, checksums, options)
          if (failure !== undefined)
            t.fail(
              `seed ${seed}: ${failure.invariant}: ${failure.detail} (node dist/sim/main.js --trace ${seed}${argumentsOf(options)})`,
            )
          t.is(undecided, 0, `seed ${seed}`)
        }
      },
    )
  }
}
