import test from 'ava'
import { createChecksums } from '#src/core/checksum.ts'
import type { PlanOptions } from '#src/sim/run/plan.ts'
import { runSeed } from '#src/sim/run/run-seed.ts'
import { openSharedSeeds } from '../support/run-seeds.ts'

/** A simulator that does not see these is of no use. */
async function seedThatCatches(options: PlanOptions, most: number): Promise<number | undefined> {
  const checksums = await createChecksums()
  for (let seed = 1; seed <= most; seed++)
    if (
      !(options.shared === true && openSharedSeeds.has(seed)) &&
      (await runSeed(seed, checksums, options)).failure !== undefined
    )
      return seed
  return undefined
}

for (const [name, how, most] of [
  ['lyingDisks', {}, 30],
  ['lyingFolders', {}, 30],
  ['lyingIndex', {}, 30],
  ['lyingMaster', {}, 30],
  ['forgetfulMaster', {}, 100],
  ['hastyReceipts', {}, 30],
  ['uncheckedReceipts', {}, 30],
  ['hastyStrays', {}, 60],
  ['lostReferences', {}, 30],
  ['skippedDigests', { mounts: 2 }, 100],
  ['idleScrubber', {}, 30],
  ['stingyMaster', {}, 30],
  ['singleCopies', {}, 60],
  ['trustingReaders', {}, 60],
  ['keptReplies', {}, 30],
  ['keptFiles', {}, 30],
  ['lostPages', { disaster: true }, 30],
  ['hastyFsync', {}, 30],
  ['latePromises', {}, 30],
  ['deafKernel', { mounts: 2 }, 30],
  ['deafKernel', { shared: true }, 30],
  ['hastyRecall', { shared: true }, 30],
  ['keptNames', { shared: true }, 30],
  ['keptAbsences', { shared: true }, 30],
  ['keptPages', { shared: true }, 30],
  ['endlessLease', { shared: true }, 500],
  ['lateWrites', { shared: true }, 100],
  ['cachedAppend', { shared: true }, 30],
  ['localLocks', { shared: true }, 30],
  ['lonelyMounts', { shared: true }, 60],
] as const)
  test.serial(`${name} is caught${'shared' in how ? ' where files are shared' : ''}`, async t => {
    const seed = await seedThatCatches({ ...how, bugs: { [name]: true } }, most)
    t.not(seed, undefined, `not by ${most} seeds`)
    t.log(`caught by seed ${seed}`)
  })
