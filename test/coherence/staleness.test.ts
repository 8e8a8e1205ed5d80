import test from 'ava'
import { Cluster } from '../support/cluster.js'
import { runPython } from '../support/run-python.js'

const kinds = [
  'create',
  'rename',
  'chmod',
  'unlink',
  'write',
  'write, by an open file',
  'append',
  'truncate',
  'truncate, by an open file',
  'mmap and msync',
  'mmap and msync, by a mapping',
]

test('what a call changed on one mount is seen at once on another, 200 times each', async t => {
  const cluster = await Cluster.start({ moreMounts: 1 })
  t.teardown(() => cluster.dispose())
  t.deepEqual(
    await runPython('coherence_meter.py', ['200', ...cluster.mounts]),
    kinds.map(kind => `${kind}: 0 stale, longest 0.0 ms`),
  )
})
