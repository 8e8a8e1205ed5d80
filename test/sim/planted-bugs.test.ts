import test from 'ava'
import { createChecksums } from '#src/core/checksum.ts'
import type { PlantedBugs } from '#src/sim/cluster/options.ts'
import type { PlanOptions } from '#src/sim/run/plan.ts'
import { runSeed } from '#src/sim/run/run-seed.ts'
import { openSharedSeeds } from '../support/run-seeds.ts'

/** A simulator that does not see these is of no use. */
async function seedThatCatches(
  options: PlanOptions,
  first: number,
  count: number,
): Promise<number | undefined> {
  const checksums = await createChecksums()
  for (let seed = first; seed < first + count; seed++)
    if (
      !(options.shared === true && openSharedSeeds.has(seed)) &&
      (await runSeed(seed, checksums, options)).failure !== undefined
    )
      return seed
  return undefined
}

// Those that only one seed in very many catches begin near it: docs/design.md has how many that are from 1 on.
for (const [name, how, count, first = 1] of [
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
  ['idleScrubber', {}, 80, 41],
  ['stingyMaster', {}, 80, 91],
  ['singleCopies', {}, 100, 71],
  ['trustingReaders', {}, 100],
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
  ['keptPages', { shared: true }, 100, 41],
  ['endlessLease', { shared: true }, 30],
  ['lateWrites', { shared: true }, 300, 441],
  ['cachedAppend', { shared: true }, 30],
  ['localLocks', { shared: true }, 30],
  ['lonelyMounts', { shared: true }, 100],
] as readonly (readonly [name: keyof PlantedBugs, how: PlanOptions, count: number, first?: number])[])
  test.serial(`${name} is caught${'shared' in how ? ' where files are shared' : ''}`, async t => {
    const seed = await seedThatCatches({ ...how, bugs: { [name]: true } }, first, count)
    t.not(seed, undefined, `not by ${count} seeds from ${first}`)
    t.log(`caught by seed ${seed}`)
  })
