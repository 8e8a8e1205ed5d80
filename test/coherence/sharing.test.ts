import { randomInt } from 'node:crypto'
import test from 'ava'
import { Cluster } from '../support/cluster.js'
import { runPython } from '../support/run-python.js'

/**
 * Files that several mounts write at the same time. What hangs here was a deadlock: the scripts give up before the
 * master throws out a mount that does not answer.
 */
let cluster: Cluster
test.before(async () => {
  cluster = await Cluster.start({ moreMounts: 2 })
})
test.after.always(() => cluster.dispose())

const seed = (): string => process.env.CAIRN_SEED ?? String(randomInt(1_000_000))

for (const mounts of [2, 3])
  test.serial(
    `whatever ${mounts} mounts do to a few files, each sees it when the call has returned`,
    async t => {
      const lines = await runPython('coherence_fsx.py', [seed(), '400', ...cluster.mounts.slice(0, mounts)])
      t.log(lines[0])
      t.is(lines.at(-1), '400 calls')
    },
  )

test.serial(
  'many processes on three mounts contend for the same pages: nobody hangs, nothing is torn',
  async t => {
    const lines = await runPython('coherence_contend.py', ['6', '200', seed(), ...cluster.mounts])
    t.log(lines[0])
    t.is(lines.at(-1), '1200')
  },
)

test.serial(
  'mounts that truncate a file at the same time, with mapped pages that are changed, do not wait for each other',
  async t => {
    t.deepEqual(await runPython('coherence_truncate.py', ['60', ...cluster.mounts]), ['180'])
  },
)

test.serial(
  'a log that six processes on three mounts append to has every record whole and in order',
  async t => {
    t.deepEqual(await runPython('coherence_append.py', ['6', '60', seed(), ...cluster.mounts]), ['360'])
  },
)

test.serial(
  'what does not ask for the size of a file that another mount made longer (README.md)',
  async t => {
    t.deepEqual(await runPython('coherence_sizes.py', cluster.mounts.slice(0, 2)), ['[[0, 7], [8192, 0]]'])
  },
)

test.serial('one SQLite database on two mounts loses no commit', async t => {
  t.deepEqual(await runPython('coherence_sqlite.py', ['2', '40', ...cluster.mounts.slice(0, 2)]), ['80'])
})
