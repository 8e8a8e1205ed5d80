import test from 'ava'
import { createChecksums } from '#src/core/checksum.ts'
import type { PlanOptions } from '#src/sim/run/plan.ts'
import { runSeed } from '#src/sim/run/run-seed.ts'

/** A simulator that does not see these is of no use. */
async function seedThatCatches(options: PlanOptions, most: number): Promise<number | undefined> {
  const checksums = await createChecksums()
  for (let seed = 1; seed <= most; seed++)
    if ((await runSeed(seed, checksums, options)).failure !== undefined) return seed
  return undefined
}

for (const [name, mounts, most] of [
  ['lyingDisks', 1, 30],
  ['hastyFsync', 1, 30],
  ['forgetfulMaster', 1, 100],
  ['deafKernel', 2, 30],
  ['latePromises', 1, 30],
] as const)
  test.serial(`${name} is caught`, async t => {
    const seed = await seedThatCatches({ mounts, bugs: { [name]: true } }, most)
    t.not(seed, undefined, `not by ${most} seeds`)
    t.log(`caught by seed ${seed}`)
  })
