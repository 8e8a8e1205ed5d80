import { execFile } from 'node:child_process'
import { existsSync, promises as fs, readdirSync, renameSync, rmSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { AckedLoad } from '../support/acked-load.js'
import { cairn, cairnFails } from '../support/cluster.js'
import { type Daemon, Daemons } from '../support/daemons.js'
import { flipBits } from '../support/flip-bit.js'
import { Dice } from '../support/random-calls.js'

/**
 * What people and disks do to the folders of chunkservers while programs write and sync files: nothing that was
 * acknowledged is lost, what cannot be served is a clear error, and all copies are there again at the end.
 */
const run = promisify(execFile)

interface NodeLine {
  id: number
  state: string
  address: string
}

const settleMs = 240_000

async function until(what: string, met: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + settleMs
  while (!(await met())) {
    if (Date.now() > end) throw new Error(`not within ${String(settleMs)} ms: ${what}`)
    await sleep(200)
  }
}

async function start(t: ExecutionContext, nodes: number): Promise<Daemons> {
  t.timeout(900_000)
  const cluster = await Daemons.start(nodes, '--repair-delay', '2', '--maintenance-delay', '2')
  t.teardown(() => cluster.dispose())
  return cluster
}

const nodesOf = (cluster: Daemons): Promise<NodeLine[]> => cluster.json<NodeLine[]>('node', 'ls')

/** Nodes that are down for good are forgotten, as soon as nothing is lost by it. */
async function removeDown(cluster: Daemons): Promise<void> {
  await until('what is down can be removed', async () => {
    const down = (await nodesOf(cluster)).filter(({ state }) => state === 'down')
    for (const { id } of down) await cairnFails(['node', 'remove', String(id), '--master', cluster.master])
    return down.length === 0
  })
}

async function isWhole(cluster: Daemons): Promise<boolean> {
  const { blocks } = await cluster.json<{ blocks: { underReplicated: number } }>('status')
  const { idle } = await cluster.json<{ idle: boolean }>('repair', 'status')
  return idle && blocks.underReplicated === 0
}

/** All copies are restored, and what was acknowledged is there, with nothing in a cache. */
async function check(t: ExecutionContext, cluster: Daemons, load: AckedLoad): Promise<void> {
  await until('all copies are there again', () => isWhole(cluster))
  await cairn(['umount', cluster.mount])
  await cairn(['mount', cluster.master, cluster.mount, '--log', path.join(cluster.dir, 'mount-2.log')])
  t.deepEqual(await load.wrong(), [])
  t.deepEqual((await cluster.json<{ blocks: unknown[] }>('damaged')).blocks, [])
  t.deepEqual((await cluster.json<{ problems: string[] }>('fsck', '--data')).problems, [])
  const kinds = new Map<string, number>()
  for (const { code, call } of load.failures) {
    const kind = `${call} ${code}`
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
  }
  t.log(`${String(load.acked.size)} files acknowledged; failed: ${JSON.stringify([...kinds])}`)
}

/** Errors and worse in a daemon's log. */
const errorsOf = ({ log }: Daemon): string[] =>
  log()
    .split('\n')
    .filter(line => /"level":"error"/.test(line))

test.serial('the folder of a chunkserver is deleted under a load', async t => {
  const cluster = await start(t, 4)
  const load = new AckedLoad(t, cluster.mount)
  await load.more(60)
  const victim = cluster.of('node-2')
  rmSync(victim.folder, { recursive: true })
  t.not(await victim.ended, 0)
  t.regex(victim.log(), /the folder was emptied or unmounted while it was in use/)
  await load.more(60)
  // Somebody starts it again: an empty folder is a new chunkserver.
  await cluster.node(2)
  await load.more(30)
  await removeDown(cluster)
  await load.end()
  t.deepEqual(load.failures, [])
  await check(t, cluster, load)
})

test.serial(
  'the folders of two chunkservers are swapped under a load, and again while they are down',
  async t => {
    const cluster = await start(t, 4)
    const load = new AckedLoad(t, cluster.mount)
    await load.more(60)
    const [one, two] = [cluster.of('node-1'), cluster.of('node-2')]
    const swap = (): void => {
      renameSync(one.folder, `${one.folder}.aside`)
      renameSync(two.folder, one.folder)
      renameSync(`${one.folder}.aside`, two.folder)
    }
    swap()
    for (const { ended, log } of [one, two]) {
      t.not(await ended, 0)
      t.regex(log(), /folder/)
    }
    // Whoever has a folder is the chunkserver whose folder it is.
    await cluster.node(1)
    await cluster.node(2)
    await load.more(30)
    for (const name of ['node-1', 'node-2']) {
      cluster.of(name).child.kill('SIGTERM')
      await cluster.of(name).ended
    }
    swap()
    await cluster.node(1)
    await cluster.node(2)
    await load.more(30)
    await load.end()
    await until(
      'all are up',
      async () => (await nodesOf(cluster)).filter(({ state }) => state === 'up').length === 4,
    )
    t.is((await nodesOf(cluster)).length, 4)
    await check(t, cluster, load)
  },
)

test.serial(
  'of three chunkservers two are stopped: reads go on, writes wait or say so, and go on',
  async t => {
    const cluster = await start(t, 3)
    const load = new AckedLoad(t, cluster.mount)
    await load.more(60)
    const stopped = [cluster.of('node-1'), cluster.of('node-3')]
    for (const { child } of stopped) child.kill('SIGSTOP')
    // Longer than a silent node counts as up, and than a write waits for it.
    await sleep(30_000)
    const [some = ''] = load.acked.keys()
    await fs.readFile(path.join(cluster.mount, some))
    t.is((await cluster.json<{ health: string }>('status')).health, 'down')
    await sleep(40_000)
    t.deepEqual(
      load.failures.filter(({ code }) => !['EIO', 'ENOSPC', 'ETIMEDOUT'].includes(code)),
      [],
    )
    for (const { child } of stopped) child.kill('SIGCONT')
    await load.more(60)
    await load.end()
    await check(t, cluster, load)
  },
)

test.serial('a disk turns read-only under a load', async t => {
  const cluster = await start(t, 3)
  const [image, disk] = [path.join(cluster.dir, 'image'), path.join(cluster.dir, 'node-4')]
  await fs.mkdir(disk)
  await run('truncate', ['-s', '512M', image])
  await run('mkfs.ext4', ['-q', image])
  await run('mount', ['-o', 'loop', image, disk])
  t.teardown(() => run('umount', ['-l', disk]))
  const victim = await cluster.node(4)
  const load = new AckedLoad(t, cluster.mount)
  await load.more(60)
  await run('mount', ['-o', 'remount,abort', disk])
  await load.more(60)
  await until('it is known to fail', async () =>
    (await nodesOf(cluster)).some(({ id, state }) => id === 4 && state === 'failing'),
  )
  t.is(victim.log().match(/the disk takes no writes/g)?.length, 1)
  await until('its copies are elsewhere', () => isWhole(cluster))
  victim.child.kill('SIGKILL')
  await victim.ended
  await removeDown(cluster)
  await load.end()
  t.deepEqual(load.failures, [])
  await check(t, cluster, load)
})

test.serial(
  'the disks of all chunkservers fill up under a load, and programs go on when there is room again',
  async t => {
    const cluster = await start(t, 0)
    const disks = [1, 2, 3].map(number => path.join(cluster.dir, `node-${String(number)}`))
    for (const [index, disk] of disks.entries()) {
      await fs.mkdir(disk)
      await run('mount', ['-t', 'tmpfs', '-o', 'size=96m', 'tmpfs', disk])
      t.teardown(() => run('umount', ['-l', disk]))
      await cluster.node(index + 1)
    }
    const load = new AckedLoad(t, cluster.mount, [800, 60_000, 200_000])
    await load.more(60)
    for (const disk of disks)
      await run('dd', ['if=/dev/zero', `of=${path.join(disk, 'filler')}`, 'bs=64k']).catch(() => undefined)
    while (load.failures.length < 5) await sleep(50)
    const [some = ''] = load.acked.keys()
    await fs.readFile(path.join(cluster.mount, some))
    t.true(
      (await nodesOf(cluster)).every(
        ({ state }) => state === 'full' || state === 'refusing' || state === 'up',
      ),
    )
    t.deepEqual(
      load.failures.filter(({ code }) => !['ENOSPC', 'EIO'].includes(code)),
      [],
    )
    for (const disk of disks) await fs.rm(path.join(disk, 'filler'))
    await load.more(60)
    await load.end()
    await check(t, cluster, load)
  },
)

/** Flips a bit of every file in the folder, but for those of these names. */
function flipAll(folder: string, dice: Dice, spared: readonly string[]): number {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && !spared.includes(entry.name))
    .map(entry => path.join(entry.parentPath, entry.name))
  return files.filter(file => flipBits(file, dice)).length
}

// By the file that says whose folder it is damage is noticed at once; without, it has to be found.
for (const [seed, spared] of [
  [1, []],
  [2, ['store-id']],
  [3, ['store-id']],
] as const)
  test.serial(`a bit of every file of a chunkserver flips while it is down (${String(seed)})`, async t => {
    const cluster = await start(t, 4)
    const load = new AckedLoad(t, cluster.mount)
    await load.more(120)
    const victim = cluster.of('node-2')
    victim.child.kill('SIGTERM')
    await victim.ended
    t.log(`${String(flipAll(victim.folder, new Dice(seed), spared))} files`)
    const again = await cluster.node(2).catch((error: unknown) => String(error))
    if (typeof again === 'string') {
      // It says what is wrong in one line, and is replaced.
      t.log(again.slice(0, 500))
      t.regex(again, /damaged|cannot|not a|store-id|malformed|version/i)
      rmSync(victim.folder, { recursive: true })
      await cluster.node(2)
    } else {
      await cairn(['scrub', 'start', '--rate', '500MiB', '--master', cluster.master])
      await sleep(5000)
      t.log(errorsOf(again).slice(0, 3).join('\n'))
    }
    await load.more(30)
    // One that ended since has found its own index damaged.
    if (typeof again !== 'string' && again.child.exitCode !== null) {
      rmSync(victim.folder, { recursive: true, force: true })
      await cluster.node(2)
    }
    await removeDown(cluster)
    await load.end()
    t.true(existsSync(victim.folder))
    t.deepEqual(load.failures, [])
    await scrubbed(cluster)
    await check(t, cluster, load)
  })

/** Every block was read and verified once since now. */
async function scrubbed(cluster: Daemons): Promise<void> {
  const began = Date.now()
  await cairn(['scrub', 'start', '--rate', '500MiB', '--master', cluster.master])
  await until('the scrubbers end', async () =>
    (await cluster.json<{ finished?: string }[]>('scrub', 'status')).every(
      ({ finished }) => finished !== undefined && Date.parse(finished) > began,
    ),
  )
}
