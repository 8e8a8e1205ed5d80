import test from 'ava'
import { createChecksums } from '#src/core/checksum.ts'
import type { PlantedBugs } from '#src/sim/cluster/options.ts'
import { runSeed } from '#src/sim/run/run-seed.ts'

/** A simulator that does not see these is of no use. */
async function seedThatCatches(bugs: PlantedBugs, most: number): Promise<number | undefined> {
  const checksums = await createChecksums()
  for (let seed = 1; seed <= most; seed++)
    if ((await runSeed(seed, checksums, { bugs })).failure !== undefined) return seed
  return undefined
}

for (const [name, most] of [
  ['lyingDisks', 30],
  ['hastyFsync', 30],
  ['forgetfulMaster', 80],
] as const)
  test.serial(`${name} is caught`, async t => {
    const seed = await seedThatCatches({ [name]: true }, most)
    t.not(seed, undefined, `not by ${most} seeds`)
    t.log(`caught by seed ${seed}`)
  })
