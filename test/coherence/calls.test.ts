import { promises as fs, readFileSync } from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { Cluster } from '../support/cluster.js'

interface Mounted {
  readonly mountpoint: string
  readonly pid: number
  readonly calls: string
}

/** What the mounts have asked of the master, in the order of their paths. */
async function mountsOf(cluster: Cluster): Promise<Mounted[]> {
  const { mounts } = await cluster.json<{ mounts: Mounted[] }>('status')
  return cluster.mounts.map(mountpoint => {
    const found = mounts.find(mount => mount.mountpoint === mountpoint)
    if (found === undefined) throw new Error(`${mountpoint} is not in the status`)
    return found
  })
}

const callsOf = async (cluster: Cluster): Promise<number[]> =>
  (await mountsOf(cluster)).map(({ calls }) => Number(calls))

/** read(2)s of a process: at least one for each request of the kernel's. */
const readsOf = (pid: number): number =>
  Number(/syscr: (\d+)/.exec(readFileSync(`/proc/${String(pid)}/io`, 'utf8'))?.[1])

const names = Array.from({ length: 20 }, (_, i) => `file-${String(i)}`)

/** Looks at everything there is. */
async function look(folder: string): Promise<void> {
  for (const name of await fs.readdir(folder)) {
    const file = path.join(folder, name)
    await fs.stat(file)
    await fs.readFile(file)
    await fs.access(path.join(folder, `${name}-absent`)).catch(() => undefined)
  }
}

test('what nobody changes is looked at on both mounts without a call to the master', async t => {
  const cluster = await Cluster.start({ moreMounts: 1 })
  t.teardown(() => cluster.dispose())
  const folders = cluster.mounts.map(mount => path.join(mount, 'folder'))
  const [first = ''] = folders
  await fs.mkdir(first)
  for (const name of names) await fs.writeFile(path.join(first, name), name.repeat(1000))

  // Each learns what there is, and then the access times that this has moved.
  let quiet = 0
  for (let rounds = 0; quiet < 3; rounds++) {
    t.true(rounds < 60, 'there are always calls')
    if (rounds >= 60) return
    const before = await callsOf(cluster)
    for (const folder of folders) await look(folder)
    await new Promise(resolve => setTimeout(resolve, 300))
    const after = await callsOf(cluster)
    quiet = after.every((calls, i) => calls === before[i]) ? quiet + 1 : 0
  }

  // The kernel answers by itself.
  for (const [i, { pid }] of (await mountsOf(cluster)).entries()) {
    const file = path.join(folders[i] ?? '', names[0] ?? '')
    await fs.stat(file)
    const before = readsOf(pid)
    for (let round = 0; round < 1000; round++) await fs.stat(file)
    t.true(readsOf(pid) - before < 300, `${String(readsOf(pid) - before)} reads for 1000 stats`)
  }
})

test('one mount alone opens, writes and closes its files again and again without asking for a lease', async t => {
  const cluster = await Cluster.start()
  t.teardown(() => cluster.dispose())
  const file = path.join(cluster.mount, 'file')
  await fs.writeFile(file, 'x'.repeat(10_000))
  const handle = await fs.open(file, 'r+')
  t.teardown(() => handle.close())
  await handle.write('y', 0)
  await handle.sync()
  const [before = 0] = await callsOf(cluster)
  for (let round = 0; round < 100; round++) {
    const again = await fs.open(file, 'r+')
    await again.read(Buffer.alloc(100), 0, 100, 0)
    await again.close()
  }
  // What is written is stored within some seconds: a few calls for all of it, and none for each write.
  for (let round = 0; round < 100; round++) {
    await handle.write('z', round)
    await fs.appendFile(file, 'appended')
  }
  const [after = 0] = await callsOf(cluster)
  t.true(after - before < 60, `${String(after - before)} calls`)
})
