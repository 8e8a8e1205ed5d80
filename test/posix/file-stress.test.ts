import path from 'node:path'
import test from 'ava'
import { Cluster } from '../support/cluster.js'
import { runPython } from '../support/run-python.js'

/** CAIRN_STRESS_SEEDS=1,2,3 and CAIRN_STRESS_OPERATIONS choose other or longer runs. */
const seeds = (process.env['CAIRN_STRESS_SEEDS'] ?? '1,2').split(',')
const operations = process.env['CAIRN_STRESS_OPERATIONS'] ?? '700'

let cluster: Cluster
test.before(async () => {
  cluster = await Cluster.start()
})
test.after.always(() => cluster.dispose())

for (const seed of seeds) {
  test.serial(
    `a file is what was written to it, by every way there is to change it (seed ${seed})`,
    async t => {
      t.timeout(150_000)
      const file = path.join(cluster.mount, `stress-${seed}`)
      t.deepEqual(await runPython('file_stress.py', [file, seed, operations]), ['ok'])
    },
  )
}

test.serial('two processes that take turns by a record lock see what the other did', async t => {
  t.timeout(150_000)
  const file = path.join(cluster.mount, 'shared')
  t.deepEqual(await runPython('file_stress.py', [file, '1', '400', 'shared']), ['ok'])
})
