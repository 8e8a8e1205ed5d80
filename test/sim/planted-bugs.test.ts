import test from 'ava'
import { createChecksums } from '#src/core/checksum.ts'
import type { PlantedBugs } from '#src/sim/cluster/options.ts'
import type { PlanOptions } from '#src/sim/run/plan.ts'
import { runSeed } from '#src/sim/run/run-seed.ts'
import { openSharedSeeds } from '../support/run-seeds.ts'

/** A simulator that does not see these is of no use. */
async function seedThatCatches(options: PlanOptions, count: number): Promise<number | undefined> {
  const checksums = await createChecksums()
  for (let seed = 1; seed <= count; seed++)
    if (
      !(options.shared === true && openSharedSeeds.has(seed)) &&
      (await runSeed(seed, checksums, options)).failure !== undefined
    )
      return seed
  return undefined
}

// So many seeds are tried that other histories, as any change of the product makes them, catch each, too.
for (const [name, how, count] of [
  ['lyingDisks', {}, 30],
  ['lyingFolders', {}, 60],
  ['lyingIndex', {}, 60],
  ['lyingMaster', {}, 30],
  ['forgetfulMaster', {}, 100],
  ['hastyReceipts', {}, 30],
  ['uncheckedReceipts', {}, 30],
  ['hastyStrays', {}, 120],
  ['lostReferences', {}, 30],
  ['skippedDigests', { mounts: 2, focus: 'rotten' }, 120],
  ['idleScrubber', { focus: 'rotten' }, 30],
  ['idleDrains', {}, 200],
  ['stingyMaster', { focus: 'crowded' }, 30],
  ['singleCopies', { focus: 'lonely' }, 300],
  ['trustingReaders', { focus: 'rotten' }, 30],
  ['keptReplies', {}, 30],
  ['keptFiles', {}, 30],
  ['lostPages', { disaster: true }, 120],
  ['hastyFsync', {}, 60],
  ['latePromises', {}, 30],
  ['deafKernel', { mounts: 2 }, 200],
  ['deafKernel', { shared: true }, 30],
  ['hastyRecall', { shared: true }, 30],
  ['keptNames', { shared: true }, 30],
  ['keptAbsences', { shared: true }, 30],
  ['keptPages', { shared: true, focus: 'away' }, 100],
  ['endlessLease', { shared: true }, 30],
  ['lateWrites', { shared: true, focus: 'away' }, 100],
  ['cachedAppend', { shared: true }, 60],
  ['localLocks', { shared: true }, 30],
  ['lonelyMounts', { shared: true }, 100],
] as readonly (readonly [name: keyof PlantedBugs, how: PlanOptions, count: number])[])
  test.serial(`${name} is caught${'shared' in how ? ' where files are shared' : ''}`, async t => {
    const seed = await seedThatCatches({ ...how, bugs: { [name]: true } }, count)
    t.not(seed, undefined, `not by ${count} seeds`)
    t.log(`caught by seed ${seed}`)
  })
