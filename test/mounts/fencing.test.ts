import { promises as fs } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { Locker } from '../support/locker.js'
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
    const cached = await fs.open(cluster.on('a', 'cached'), 'w+')
    await cached.write('old')
    await cached.sync()
    const seen = async (): Promise<string> =>
      (await cached.read(Buffer.alloc(3), 0, 3, 0)).buffer.toString('utf8')
    t.is(await seen(), 'old')
    await ours.write('late')
    process.kill(pid, 'SIGSTOP')
    // Waits for the lease of the stopped mount, and no longer.
    await fs.appendFile(cluster.on('b', 'f'), 'by b')
    t.is(await fs.readFile(cluster.on('b', 'f'), 'utf8'), 'stored by b')
    await fs.writeFile(cluster.on('b', 'cached'), 'new')
    // Nobody is there to take it from the kernel (README, deviations).
    t.is(await seen(), 'old')
    process.kill(pid, 'SIGCONT')
    t.is(await codeOf(ours.sync()), 'EIO')
    t.is(await seen(), 'new')
    await cached.close()
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

test.serial(
  'a mount that is cut off loses its locks, hears of it, and works again when the cut heals',
  async t => {
    const cluster = await SpreadCluster.start({ mounts: ['a', 'b'], leaseTime, wait: 60 })
    t.teardown(() => cluster.dispose())
    await fs.writeFile(cluster.on('a', 'f'), 'before')
    const holder = new Locker(cluster.on('a', 'f'))
    const bystander = new Locker(cluster.on('a', 'f'))
    const waiter = new Locker(cluster.on('b', 'f'))
    t.teardown(() => [holder, bystander, waiter].forEach(each => each.kill()))
    t.is(await holder.ask('lock'), 'ok')
    const waiting = waiter.ask('wait')
    await cluster.network.cut('a')
    // The lease of the mount runs out, and its locks go to who waits.
    t.is(await waiting, 'ok')
    t.is(await waiter.ask('write'), 'ok')
    await cluster.network.heal('a')
    // Whoever lost a lock is told, until it has given it up; others are not disturbed.
    t.is(await bystander.ask('read'), 'theirs')
    for (const what of ['write', 'lock', 'fsync']) t.is(await holder.ask(what), 'EIO', what)
    t.is(await holder.ask('unlock'), 'ok')
    t.is(await holder.ask('read'), 'theirs')
    t.is(await holder.ask('lock'), 'EAGAIN')
    t.is(await waiter.ask('unlock'), 'ok')
    t.is(await holder.ask('lock'), 'ok')
    t.deepEqual(await cluster.fsck(), [])
  },
)

test.serial('cuts of one way, or between a mount and the nodes only, lose nothing', async t => {
  // Nobody waits for this lease to end; the cuts are shorter than it on a slow machine, too.
  const cluster = await SpreadCluster.start({ mounts: ['a', 'b'], leaseTime: 20, wait: 60 })
  t.teardown(() => cluster.dispose())
  const { network } = cluster
  const text = (n: number): string => `${String(n)} `.repeat(20_000)
  const cuts = [
    // Reaches the master but no node; the nodes but not the master.
    () => network.part('a', 'nodes'),
    () => network.part('a', 'master'),
    // Is heard by all, but hears nothing.
    async () => {
      await network.deafen('a', 'master')
      await network.deafen('a', 'nodes')
    },
  ]
  for (const [n, cut] of cuts.entries()) {
    await fs.writeFile(cluster.on('a', 'f'), text(n))
    await cut()
    // Shorter than the lease: calls wait.
    const writing = fs.writeFile(cluster.on('a', `g${String(n)}`), text(n))
    await sleep(2000)
    await network.heal('a')
    await writing
    for (const file of ['f', `g${String(n)}`])
      t.is(await fs.readFile(cluster.on('b', file), 'utf8'), text(n), `${file} of cut ${String(n)}`)
  }
  t.deepEqual(await cluster.fsck(), [])
})
