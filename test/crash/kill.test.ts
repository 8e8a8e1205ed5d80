import { createHash } from 'node:crypto'
import { promises as fs, readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { cairn, Cluster } from '../support/cluster.js'
import { descendants, kill9 } from '../support/processes.js'
import { Dice } from '../support/random-calls.js'

/** What was fsynced is there, byte for byte, after kill -9 of any or all processes at any moment. */
const supervisorOf = (cluster: Cluster): number =>
  (JSON.parse(readFileSync(path.join(cluster.dir, 'running.json'), 'utf8')) as { pid: number }).pid

const sha = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex')

/** Writes and fsyncs files until an error (the mount's death) ends it; what was acknowledged is noted. */
async function writeUntilDeath(
  mount: string,
  round: number,
  dice: Dice,
  acked: Map<string, string>,
): Promise<void> {
  const root = await fs.open(mount, 'r')
  try {
    // By way of the open root: the path leads to the folder below once the dead mount has been cleared.
    await writeFiles(`/proc/self/fd/${String(root.fd)}`, round, dice, acked)
  } finally {
    await root.close()
  }
}

/** What was done to its names is stored. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await fs.open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function writeFiles(
  root: string,
  round: number,
  dice: Dice,
  acked: Map<string, string>,
): Promise<void> {
  for (let n = 0; ; n++) {
    const size = dice.pick([10, 4096, 70_000, 1_000_000, 5_000_000])
    const data = Buffer.alloc(size, `round ${String(round)} file ${String(n)} ${String(dice.below(1e9))} `)
    const name = `r${String(round)}-${String(n)}`
    try {
      const file = await fs.open(path.join(root, `${name}.tmp`), 'w')
      try {
        await file.write(data)
        await file.sync()
      } finally {
        await file.close()
      }
      acked.set(`${name}.tmp`, sha(data))
      await fs.rename(path.join(root, `${name}.tmp`), path.join(root, name))
      await syncFolder(root)
      acked.delete(`${name}.tmp`)
      acked.set(name, sha(data))
    } catch {
      // A rename that was under way may or may not have happened.
      return
    }
  }
}

async function check(mount: string, acked: Map<string, string>): Promise<string[]> {
  const wrong: string[] = []
  for (const [name, hash] of acked) {
    let data: Buffer | undefined
    for (const candidate of [name, name.replace(/\.tmp$/, '')]) {
      data = await fs.readFile(path.join(mount, candidate)).catch((error: unknown) => {
        if ((error as { code?: string }).code === 'ENOENT') return undefined
        throw error
      })
      if (data !== undefined) break
    }
    if (data === undefined) wrong.push(`${name} is gone`)
    else if (sha(data) !== hash) wrong.push(`${name} has other bytes (${String(data.length)})`)
  }
  return wrong
}

test('kill -9 of every process during fsyncs loses nothing that was acknowledged', async t => {
  const cluster = await Cluster.start()
  t.teardown(() => cluster.dispose())
  const dice = new Dice(7)
  const acked = new Map<string, string>()
  for (let round = 0; round < 3; round++) {
    const before = acked.size
    const writer = { over: false }
    const writing = writeUntilDeath(cluster.mount, round, dice, acked).finally(() => {
      writer.over = true
    })
    while (acked.size === before && !writer.over) await sleep(50)
    await sleep(dice.below(2000))
    for (const each of descendants(supervisorOf(cluster))) kill9(each.pid)
    await writing
    t.true(acked.size > before, 'something was acknowledged before the kill')
    t.log(`round ${String(round)}: ${String(acked.size - before)} files were acknowledged before the kill`)
    await cluster.up()
    t.deepEqual(await check(cluster.mount, acked), [])
  }
  const result = JSON.parse(await cairn(['fsck', '--data', '--dir', cluster.dir, '--json'])) as {
    problems: string[]
  }
  t.deepEqual(result.problems, [])
})

test('kill -9 of the mount leaves no dead mount point', async t => {
  const cluster = await Cluster.start()
  t.teardown(() => cluster.dispose())
  const mounted = descendants(supervisorOf(cluster)).find(each => each.command.includes(' mount '))
  t.truthy(mounted)
  kill9(mounted?.pid ?? 0)
  const there = () => readFileSync('/proc/self/mountinfo', 'utf8').includes(cluster.mount)
  for (let waited = 0; there() && waited < 10_000; waited += 50) await sleep(50)
  t.false(there())
  t.deepEqual(await fs.readdir(cluster.mount), [])
})

test('one node of three may die while files are written and read', async t => {
  const cluster = await Cluster.start()
  t.teardown(() => cluster.dispose())
  const data = Buffer.alloc(9_000_000, 'some content of a file ')
  await fs.writeFile(path.join(cluster.mount, 'before'), data)
  await cairn(['sync', cluster.mount])
  const node = descendants(supervisorOf(cluster)).find(each => each.command.includes('chunkserver-2'))
  kill9(node?.pid ?? 0)
  const file = await fs.open(path.join(cluster.mount, 'after'), 'w')
  await file.write(data)
  await file.sync()
  await file.close()
  t.true((await fs.readFile(path.join(cluster.mount, 'before'))).equals(data))
  t.true((await fs.readFile(path.join(cluster.mount, 'after'))).equals(data))
  const status = await cluster
    .json<{ health: string }>('status')
    .catch((error: unknown) => JSON.parse((error as { stdout: string }).stdout) as { health: string })
  t.is(status.health, 'degraded')
})
