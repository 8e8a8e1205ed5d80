import { promises as fs } from 'node:fs'
import test from 'ava'
import { SpreadCluster } from '../support/spread-cluster.js'

/** Mounts that fall silent for longer than their lease. */
const leaseTime = 5

const codeOf = async (call: Promise<unknown>): Promise<string | undefined> =>
  call.then(
    () => undefined,
    (error: unknown) => (error as NodeJS.ErrnoException).code,
  )

test.serial(
  'a mount that was stopped with a write lease is fenced: others go on, nothing of it lands later',
  async t => {
    const cluster = await SpreadCluster.start({ mounts: ['a', 'b'], leaseTime })
    t.teardown(() => cluster.dispose())
    const { pid } = cluster.mount('a')
    const ours = await fs.open(cluster.on('a', 'f'), 'w+')
    await ours.write('stored ')
    await ours.sync()
    const clean = await fs.open(cluster.on('a', 'clean'), 'w+')
    await clean.write('not touched')
    await clean.sync()
    await ours.write('late')
    process.kill(pid, 'SIGSTOP')
    // Waits for the lease of the stopped mount, and no longer.
    await fs.appendFile(cluster.on('b', 'f'), 'by b')
    t.is(await fs.readFile(cluster.on('b', 'f'), 'utf8'), 'stored by b')
    process.kill(pid, 'SIGCONT')
    t.is(await codeOf(ours.sync()), 'EIO')
    // It works again by itself, with what is true now, through the old handles, too.
    t.is(await fs.readFile(cluster.on('a', 'f'), 'utf8'), 'stored by b')
    t.is((await ours.read(Buffer.alloc(20), 0, 20, 0)).buffer.toString('utf8', 0, 11), 'stored by b')
    t.is((await clean.read(Buffer.alloc(20), 0, 20, 0)).bytesRead, 11)
    await clean.write(' again', 11)
    await clean.sync()
    await clean.close()
    await ours.close()
    t.is(await fs.readFile(cluster.on('b', 'clean'), 'utf8'), 'not touched again')
    // Whatever might still be dirty is stored now.
    await cluster.cairnOn('a', 'sync', cluster.on('a'))
    t.is(await fs.readFile(cluster.on('b', 'f'), 'utf8'), 'stored by b')
    t.regex(cluster.logOf('a'), /Written data is lost with the session/)
    t.deepEqual(await cluster.fsck(), [])
  },
)
