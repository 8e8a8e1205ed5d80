import { execFile, spawn } from 'node:child_process'
import { existsSync, promises as fs, readlinkSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { cairn, cairnFails, cairnProgram, Cluster } from '../support/cluster.js'

const run = promisify(execFile)

/** A process that has a copy of every mount, as a container has that was started meanwhile. */
async function holdElsewhere(t: ExecutionContext): Promise<void> {
  const holder = spawn('unshare', ['--mount', '--propagation', 'private', 'sleep', '600'], {
    stdio: 'ignore',
  })
  t.teardown(() => holder.kill('SIGKILL'))
  const ours = readlinkSync('/proc/self/ns/mnt')
  const namespace = (): string => readlinkSync(`/proc/${String(holder.pid)}/ns/mnt`)
  while (existsSync(`/proc/${String(holder.pid)}`) && namespace() === ours) await sleep(20)
  await sleep(100)
}

test('a mount that another namespace has, too, is stored and ended with the cluster', async t => {
  const cluster = await Cluster.start()
  t.teardown(() => cluster.dispose())
  await fs.writeFile(path.join(cluster.mount, 'f'), 'kept')
  await holdElsewhere(t)
  const stopped = await cairnFails(['down', '--dir', cluster.dir])
  t.deepEqual([stopped.code, stopped.stderr], [0, ''])
  await cluster.up()
  t.is(await fs.readFile(path.join(cluster.mount, 'f'), 'utf8'), 'kept')
})

test('umount says where else it is mounted', async t => {
  const cluster = await Cluster.start()
  t.teardown(() => cluster.dispose())
  const mount = path.join(cluster.dir, 'second')
  await fs.mkdir(mount)
  const { master } = await cluster.json<{ master: { address: string } }>('status')
  await cairn(['mount', master.address, mount, '--log', path.join(cluster.dir, 'second.log')])
  await holdElsewhere(t)
  const unmounted = await run(process.execPath, [cairnProgram, 'umount', mount])
  t.regex(unmounted.stderr, /other mount namespaces \(of process \d+/)
})
