import { createHash } from 'node:crypto'
import { promises as fs } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { Locker } from '../support/locker.js'
import { Dice } from '../support/random-calls.js'
import { SpreadCluster } from '../support/spread-cluster.js'

/** Two mounts under load while parts of the cluster go away and come back. Nothing may fail, only wait. */
const sha = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex')

/** One mount makes and renames files; the other reads each and removes it. Ends when `until` is met. */
async function load(cluster: SpreadCluster, seed: number, until: () => boolean): Promise<number> {
  const dice = new Dice(seed)
  const dir = `d${String(seed)}`
  await fs.mkdir(cluster.on('a', dir))
  for (let n = 0; ; n++) {
    const [writer, reader] = n % 2 === 0 ? ['a', 'b'] : ['b', 'a']
    const data = Buffer.alloc(dice.pick([0, 7, 4096, 300_000]), `${String(n)} of ${dir} `)
    const name = `f${String(n)}`
    const file = await fs.open(cluster.on(writer, dir, `${name}.new`), 'wx')
    await file.writeFile(data)
    await file.close()
    await fs.rename(cluster.on(writer, dir, `${name}.new`), cluster.on(writer, dir, name))
    const names = await fs.readdir(cluster.on(reader, dir))
    if (names.length !== 1 || names[0] !== name) throw new Error(`${name}: ${names.join()}`)
    const read = await fs.readFile(cluster.on(reader, dir, name))
    if (sha(read) !== sha(data)) throw new Error(`${name}: ${String(read.length)} other bytes`)
    await fs.rm(cluster.on(reader, dir, name))
    if (until()) return n
  }
}

test.serial('open, locked and removed files survive restarts of master and nodes, under load', async t => {
  const cluster = await SpreadCluster.start({ mounts: ['a', 'b'], wait: 120 })
  t.teardown(() => cluster.dispose())
  await fs.writeFile(cluster.on('a', 'locked'), 'before')
  const holder = new Locker(cluster.on('a', 'locked'))
  const waiter = new Locker(cluster.on('b', 'locked'))
  const third = new Locker(cluster.on('b', 'locked'))
  t.teardown(() => [holder, waiter, third].forEach(each => each.kill()))
  t.is(await holder.ask('lock'), 'ok')
  const removed = await fs.open(cluster.on('a', 'removed'), 'w+')
  await removed.write('before ')
  await fs.rm(cluster.on('b', 'removed'))
  const appended = await fs.open(cluster.on('b', 'appended'), 'a')
  await appended.write('before ')
  const waiting = waiter.ask('wait')

  let over = false
  const loads = [1, 2].map(seed => load(cluster, seed, () => over))
  const failed = Promise.all(loads).then(() => undefined)
  const restarts = async (): Promise<void> => {
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      await sleep(500)
      await cluster.stopDaemon('master', signal)
      await sleep(500)
      await cluster.startMaster()
      await cluster.stopDaemon('node-0', signal)
      await cluster.startNode(0)
    }
    await sleep(500)
    over = true
  }
  await Promise.all([failed, restarts()])

  t.is(await third.ask('lock'), 'EAGAIN')
  t.is(await holder.ask('write'), 'ok')
  t.is(await holder.ask('unlock'), 'ok')
  t.is(await waiting, 'ok')
  t.is(await waiter.ask('read'), 'theirs')
  await removed.write('after')
  await removed.sync()
  t.is((await removed.read(Buffer.alloc(20), 0, 20, 0)).buffer.toString('utf8', 0, 12), 'before after')
  t.is((await removed.stat()).nlink, 0)
  await appended.write('after')
  await appended.close()
  t.is(await fs.readFile(cluster.on('a', 'appended'), 'utf8'), 'before after')
  await removed.close()
  t.log((await Promise.all(loads)).join(), 'rounds')
  t.deepEqual(await cluster.fsck(), [])
})

test.serial('short cuts of the network make two mounts under load wait, and nothing else', async t => {
  const cluster = await SpreadCluster.start({ mounts: ['a', 'b'], wait: 120 })
  t.teardown(() => cluster.dispose())
  let over = false
  const loads = [3, 4].map(seed => load(cluster, seed, () => over))
  const cuts = async (): Promise<void> => {
    for (const machine of ['a', 'master', 'b', 'nodes']) {
      await sleep(300)
      await cluster.network.cut(machine)
      await sleep(1000)
      await cluster.network.heal(machine)
    }
    await sleep(300)
    over = true
  }
  await Promise.all([...loads, cuts()])
  t.log((await Promise.all(loads)).join(), 'rounds')
  t.deepEqual(await cluster.fsck(), [])
})
