import test from 'ava'
import { createChecksums } from '#src/core/checksum.ts'
import { runSeed } from '#src/sim/run/run-seed.ts'

test('the same seed gives the same run, in one process and after others', async t => {
  const checksums = await createChecksums()
  const hashes = new Map<number, string>()
  for (const seed of [3, 7, 11]) hashes.set(seed, (await runSeed(seed, checksums)).hash)
  for (const [seed, hash] of hashes) {
    const lines: string[] = []
    const again = await runSeed(seed, checksums, { trace: line => lines.push(line) })
    t.is(again.hash, hash, `seed ${seed}`)
    t.true(lines.length > 100)
  }
  t.is(new Set(hashes.values()).size, 3)
})
