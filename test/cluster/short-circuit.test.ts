import { randomBytes } from 'node:crypto'
import {
  closeSync,
  openSync,
  promises as fs,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeSync,
} from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { cairn, cairnFails, Cluster } from '../support/cluster.js'

/** A mount on the chunkservers' machine reads their files itself. */
interface Mounted {
  readonly pid: number
}

async function remount(cluster: Cluster, ...options: string[]): Promise<Mounted> {
  await cairn(['umount', cluster.mount])
  const { master } = JSON.parse(readFileSync(path.join(cluster.dir, 'running.json'), 'utf8')) as {
    master: string
  }
  const log = path.join(cluster.dir, 'remount.log')
  return JSON.parse(
    await cairn(['mount', master, cluster.mount, '--log', log, '--json', ...options]),
  ) as Mounted
}

/** Files of blocks that a process has open. */
function openBlocks({ pid }: Mounted): string[] {
  const folder = `/proc/${String(pid)}/fd`
  return readdirSync(folder).flatMap(fd => {
    try {
      const target = readlinkSync(path.join(folder, fd))
      return target.includes('/blocks/') ? [target] : []
    } catch {
      // Closed since it was listed.
      return []
    }
  })
}

test('blocks are read from their files, and damaged ones from elsewhere', async t => {
  const cluster = await Cluster.start()
  t.teardown(async () => {
    await cairnFails(['umount', cluster.mount])
    await cluster.dispose()
  })
  const file = path.join(cluster.mount, 'f')
  const data = randomBytes(12 << 20)
  await fs.writeFile(file, data)
  const readAt = async (at: number): Promise<boolean> => {
    const handle = await fs.open(file)
    const { buffer } = await handle.read(Buffer.alloc(4096), 0, 4096, at)
    await handle.close()
    return buffer.equals(data.subarray(at, at + 4096))
  }

  const over = await remount(cluster, '--short-circuit', 'off')
  t.true((await fs.readFile(file)).equals(data))
  t.deepEqual(openBlocks(over), [])

  // The first reads make the nodes known; then their files are used.
  const mounted = await remount(cluster)
  const open = new Set<string>()
  for (let at = 0; at < data.length; at += 500_000) {
    t.true(await readAt(at - (at % 4096)))
    for (const name of openBlocks(mounted)) open.add(name)
  }
  t.true(open.size > 0, 'no file of a block was opened')

  const info = JSON.parse(await cairn(['info', file, '--json'])) as { extents: { block: string }[] }
  for (const [index, { block }] of info.extents.entries()) {
    const node = `chunkserver-${String(1 + (index % 3))}`
    const fd = openSync(path.join(cluster.dir, node, 'blocks', block.slice(0, 2), block), 'r+')
    writeSync(fd, Buffer.alloc(10, 'rot'), 0, 10, 1_000_000)
    closeSync(fd)
  }
  await remount(cluster)
  t.true((await fs.readFile(file)).equals(data))
})
