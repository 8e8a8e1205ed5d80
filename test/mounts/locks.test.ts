import { promises as fs } from 'node:fs'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { Cluster } from '../support/cluster.js'
import { runPython } from '../support/run-python.js'

/** Locks between processes on three mounts of one cluster. */
async function threeMounts(t: ExecutionContext): Promise<string[]> {
  const cluster = await Cluster.start()
  t.teardown(() => cluster.dispose())
  const mounts = [cluster.mount, await cluster.addMount('second'), await cluster.addMount('third')]
  await fs.writeFile(path.join(cluster.mount, 'f'), '')
  return mounts.map(mount => path.join(mount, 'f'))
}

const script = '../mounts/locks.py'

test.serial('the classic cases of fcntl, OFD and flock locks, between two mounts and on one', async t => {
  const [first = '', second = ''] = await threeMounts(t)
  const cases = await runPython(script, ['cases', first, second])
  t.true(cases.includes('case_data'))
  t.deepEqual(await runPython(script, ['cases', first, first]), cases)
})

for (const [kind, times] of [
  ['posix', 50],
  ['flock', 50],
  ['ofd', 30],
] as const)
  test.serial(`a counter under ${kind} locks, of six processes on three mounts, loses nothing`, async t => {
    const files = await threeMounts(t)
    const [said = ''] = await runPython(script, ['counter', kind, String(times), ...files])
    t.regex(said, new RegExp(`^${kind}: ${String(times * 6)} in `))
    t.log(said)
  })
