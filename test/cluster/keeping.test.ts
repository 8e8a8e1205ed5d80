import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { promises as fs, readdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { cairn, cairnFails } from '../support/cluster.js'
import { Daemons } from '../support/daemons.js'

/** Nodes that are emptied, removed, and lose their folders or disks, with real processes. */
const run = promisify(execFile)

interface NodeLine {
  id: number
  state: string
  drained?: boolean
}

async function eventually(t: ExecutionContext, what: string, met: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if (await met()) return
    await sleep(200)
  }
  t.fail(what)
}

async function start(t: ExecutionContext, nodes: number): Promise<Daemons> {
  const cluster = await Daemons.start(nodes, '--repair-delay', '2', '--maintenance-delay', '2')
  t.teardown(() => cluster.dispose())
  return cluster
}

/** Writes files; returns them with their content. */
async function fill(cluster: Daemons, name: string, sizes: readonly number[]): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>()
  for (const [index, size] of sizes.entries()) {
    const file = path.join(cluster.mount, `${name}-${String(index)}`)
    const data = randomBytes(size)
    await fs.writeFile(file, data)
    files.set(file, data)
  }
  await cairn(['sync', cluster.mount])
  return files
}

async function check(t: ExecutionContext, cluster: Daemons, files: Map<string, Buffer>): Promise<void> {
  for (const [file, data] of files) t.true((await fs.readFile(file)).equals(data), file)
  t.regex(await cairn(['fsck', '--data', '--master', cluster.master]), /Clean/)
}

const isWhole = (cluster: Daemons) => async () => {
  const { blocks } = await cluster.json<{ blocks: { underReplicated: number } }>('status')
  const { idle } = await cluster.json<{ idle: boolean }>('repair', 'status')
  return idle && blocks.underReplicated === 0
}

const sizes = [...Array.from({ length: 100 }, (_, index) => 100 + index * 50), 9 << 20, 300_000]

test.serial('a node is emptied while files are written, and removed; its process is refused', async t => {
  const cluster = await start(t, 4)
  const before = await fill(cluster, 'before', sizes)
  t.regex(
    (await cairnFails(['node', 'remove', '1', '--master', cluster.master])).stdout,
    /it is up: empty it first/,
  )
  await cairn(['node', 'drain', '1', '--master', cluster.master])
  const during = await fill(cluster, 'during', sizes)
  const nodes = () => cluster.json<NodeLine[]>('node', 'ls')
  await eventually(t, 'it is empty', async () => (await nodes()).some(node => node.drained === true))
  await cairn(['node', 'remove', '1', '--master', cluster.master])
  t.deepEqual(
    (await nodes()).map(({ id, state }) => [id, state]),
    [2, 3, 4].map(id => [id, 'up']),
  )
  await check(t, cluster, new Map([...before, ...during]))
  const refused = await cairnFails(['node', 'drain', '2', '--master', cluster.master])
  t.is(refused.code, 1)
  t.regex(refused.stdout, /3 copies are wanted.*only 2 other/)
})

test.serial(
  'a folder that is emptied in use is noticed: the process ends, its copies are made anew',
  async t => {
    const cluster = await start(t, 4)
    const files = await fill(cluster, 'f', sizes)
    const status = await cluster.json<{ nodes: NodeLine[] }>('status')
    t.is(status.nodes.length, 4)
    const victim = await cluster.node(5)
    const more = await fill(cluster, 'g', sizes)
    for (const name of readdirSync(victim.folder))
      if (name !== 'lock') rmSync(path.join(victim.folder, name), { recursive: true, force: true })
    t.not(await victim.ended, 0)
    t.regex(victim.log(), /the folder was emptied or unmounted while it was in use/)
    await eventually(t, 'all copies are there again', isWhole(cluster))
    t.is((await cairnFails(['damaged', '--master', cluster.master])).code, 0)
    await cairn(['node', 'remove', '5', '--master', cluster.master])
    await check(t, cluster, new Map([...files, ...more]))
  },
)

test.serial(
  'a disk that turns read-only is out of service, says so, still serves, and is replaced',
  async t => {
    const cluster = await start(t, 2)
    const image = path.join(cluster.dir, 'image')
    const disk = path.join(cluster.dir, 'node-3')
    await fs.mkdir(disk)
    await run('truncate', ['-s', '256M', image])
    await run('mkfs.ext4', ['-q', image])
    await run('mount', ['-o', 'loop', image, disk])
    t.teardown(() => run('umount', ['-l', disk]))
    // One of three, so that every block has a copy on it, however small it is.
    const victim = await cluster.node(3)
    const files = await fill(cluster, 'f', sizes)
    await cluster.node(4)
    await run('mount', ['-o', 'remount,abort', disk])
    const more = await fill(cluster, 'g', sizes)
    const stateOf = async (): Promise<string | undefined> =>
      (await cluster.json<NodeLine[]>('node', 'ls')).find(({ id }) => id === 3)?.state
    await eventually(t, 'it is known to fail', async () => (await stateOf()) === 'failing')
    t.is(victim.log().match(/the disk takes no writes/g)?.length, 1)
    await eventually(t, 'its copies are elsewhere', isWhole(cluster))
    victim.child.kill('SIGKILL')
    await victim.ended
    await eventually(t, 'it is down', async () => (await stateOf()) === 'down')
    await cairn(['node', 'remove', '3', '--master', cluster.master])
    await check(t, cluster, new Map([...files, ...more]))
  },
)

test.serial(
  'of three nodes two die: what was stored is read, and all is well when they are back',
  async t => {
    const cluster = await start(t, 1)
    const dying = [await cluster.node(2), await cluster.node(3)]
    const files = await fill(cluster, 'f', sizes.slice(60))
    for (const { child, ended } of dying) {
      child.kill('SIGKILL')
      await ended
    }
    for (const [file, data] of files) t.true((await fs.readFile(file)).equals(data), file)
    t.is((await cluster.json<{ health: string }>('status')).health, 'down')
    t.is((await cairnFails(['damaged', '--master', cluster.master])).code, 0)
    await cluster.node(2)
    await cluster.node(3)
    await eventually(t, 'all is well', isWhole(cluster))
    await check(t, cluster, files)
  },
)
