import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { promises as fs } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { SpreadCluster } from '../support/spread-cluster.js'

const script = `
import signal, sys
signal.signal(signal.SIGUSR1, lambda *_: None)
print('reading', flush=True)
sys.stdout.write(open(sys.argv[1]).read())
`

/** A program that reads, handles SIGUSR1, and has begun. */
async function reader(path: string) {
  const child = spawn('python3', ['-c', script, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part))
  const ended = once(child, 'close')
  while (!text.includes('reading')) await sleep(20)
  await sleep(500)
  return { child, ended, text: () => text }
}

test.serial(
  'who waits for nodes that are away can be killed, and no other signal makes a read fail',
  async t => {
    const cluster = await SpreadCluster.start({ mounts: ['a', 'b'], nodes: 2 })
    t.teardown(() => cluster.dispose())
    await fs.writeFile(cluster.on('a', 'f'), 'bytes', { flush: true })
    for (const node of ['node-0', 'node-1']) await cluster.stopDaemon(node, 'SIGTERM')
    const killed = await reader(cluster.on('b', 'f'))
    const patient = await reader(cluster.on('b', 'f'))
    patient.child.kill('SIGUSR1')
    // The kernel says nothing of the second signal.
    killed.child.kill('SIGUSR1')
    await sleep(500)
    killed.child.kill('SIGKILL')
    const late = sleep(5000).then(() => 'still waits')
    t.deepEqual(await Promise.race([killed.ended, late]), [null, 'SIGKILL'])
    await cluster.startNode(0)
    t.deepEqual(await patient.ended, [0, null])
    t.is(patient.text(), 'reading\nbytes')
  },
)
