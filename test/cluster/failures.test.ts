import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  closeSync,
  mkdtempSync,
  openSync,
  promises as fs,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { formatVersion } from '#src/chunkserver/blocks/block-tables.ts'
import { schemaVersion } from '#src/master/store/format.ts'
import { cairn, cairnFails, cairnProgram, Cluster } from '../support/cluster.js'
import { descendants, kill9 } from '../support/processes.js'

/** What users meet when parts fail: disks that fill up and rot, daemons that die. */
const run = promisify(execFile)

const supervisorOf = (cluster: Cluster): number =>
  (JSON.parse(readFileSync(path.join(cluster.dir, 'running.json'), 'utf8')) as { pid: number }).pid

const masterOf = (cluster: Cluster): string =>
  (JSON.parse(readFileSync(path.join(cluster.dir, 'running.json'), 'utf8')) as { master: string }).master

async function eventually(t: ExecutionContext, what: string, met: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 150; tries++) {
    if (await met()) return
    await sleep(200)
  }
  t.fail(what)
}

interface Info {
  extents: { block: string; copies: { node: number }[] }[]
}
const infoOf = async (file: string): Promise<Info> =>
  JSON.parse(await cairn(['info', file, '--json'])) as Info

/** Turns bytes of a stored block file; `nodes` are the numbers of the chunkservers' folders. */
function damage(cluster: Cluster, block: string, nodes: readonly number[]): void {
  for (const node of nodes) {
    const file = path.join(cluster.dir, `chunkserver-${String(node)}`, 'blocks', block.slice(0, 2), block)
    const fd = openSync(file, 'r+')
    writeSync(fd, Buffer.alloc(10, 'rot'), 0, 10, 1_000_000)
    closeSync(fd)
  }
}

/** Mounts anew: nothing is cached any more, neither by the kernel nor by the mount. */
async function remount(cluster: Cluster): Promise<void> {
  await cairn(['umount', cluster.mount])
  await cairn(['mount', masterOf(cluster), cluster.mount, '--log', path.join(cluster.dir, 'remount.log')])
}

test.serial(
  'rotten copies are not served: another is read; if all are bad, just that range is EIO',
  async t => {
    const cluster = await Cluster.start()
    t.teardown(async () => {
      await cairnFails(['umount', cluster.mount])
      await cluster.dispose()
    })
    const file = path.join(cluster.mount, 'f')
    const data = randomBytes(12 << 20)
    await fs.writeFile(file, data)
    const [first, second] = (await infoOf(file)).extents
    damage(cluster, first?.block ?? '', [1, 2])
    damage(cluster, second?.block ?? '', [1, 2, 3])
    await remount(cluster)

    const handle = await fs.open(file)
    const piece = Buffer.alloc(65536)
    const wrong: number[] = []
    for (let at = 0; at < data.length; at += piece.length)
      try {
        await handle.read(piece, 0, piece.length, at)
        t.true(piece.equals(data.subarray(at, at + piece.length)), `bytes at ${String(at)}`)
      } catch (error) {
        t.is((error as NodeJS.ErrnoException).code, 'EIO')
        wrong.push(at)
      }
    await handle.close()
    t.deepEqual(wrong, [Math.floor(((4 << 20) + 1_000_000) / 65536) * 65536])

    const checked = await cairnFails(['fsck', '--data', '--dir', cluster.dir])
    t.is(checked.code, 1)
    t.regex(checked.stdout, /does not match its checksum/)

    // The way back: the file is restored from elsewhere.
    await fs.writeFile(`${file}.restored`, data)
    await cairn(['sync', cluster.mount])
    await remount(cluster)
    t.true((await fs.readFile(`${file}.restored`)).equals(data))
  },
)

test.serial(
  'a full cluster says ENOSPC at write, never at close, and takes data again after deletions',
  async t => {
    const cluster = await Cluster.start({ mount: false })
    t.teardown(() => cluster.dispose())
    await cluster.down()
    const address = '127.0.0.1:0'
    const daemons: ChildProcess[] = []
    const start = async (...args: string[]): Promise<string> => {
      const child = spawn(process.execPath, [cairnProgram, ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
      daemons.push(child)
      let log = ''
      child.stderr.on('data', (chunk: Buffer) => {
        log += chunk.toString()
      })
      for (let tries = 0; tries < 300; tries++) {
        const found = /"address":"([^"]+)"[^\n]*"Serving"/.exec(log)
        if (found !== null) return found[1] ?? ''
        await sleep(50)
      }
      throw new Error(`${args.join(' ')}: ${log}`)
    }
    const master = await start('master', '--data', path.join(cluster.dir, 'm'), '--listen', address)
    for (const n of ['a', 'b', 'c'])
      await start(
        ...['chunkserver', '--data', path.join(cluster.dir, n), '--master', master],
        ...['--listen', address, '--capacity', '64MiB'],
      )
    const mount = path.join(cluster.dir, 'mnt')
    await fs.mkdir(mount)
    await cairn(['mount', master, mount, '--log', path.join(cluster.dir, 'mount.log')])
    t.teardown(async () => {
      await cairnFails(['umount', mount])
      for (const child of daemons) child.kill('SIGKILL')
    })

    const kept = new Map<string, Buffer>()
    let refused: string | undefined
    for (let n = 0; refused === undefined && n < 20; n++) {
      const data = randomBytes(5 << 20)
      const file = path.join(mount, `f${String(n)}`)
      const handle = await fs.open(file, 'w')
      try {
        await handle.writeFile(data)
        kept.set(file, data)
      } catch (error) {
        refused = (error as NodeJS.ErrnoException).code
      }
      await handle.close()
    }
    t.is(refused, 'ENOSPC')
    t.true(kept.size >= 10, `${String(kept.size)} files of 5 MiB fit into 64 MiB`)
    await cairn(['sync', mount])
    for (const [file, data] of kept) t.true((await fs.readFile(file)).equals(data), file)

    for (const file of [...kept.keys()].slice(0, 6)) await fs.rm(file)
    const handle = await fs.open(path.join(mount, 'again'), 'w')
    await handle.writeFile(randomBytes(20 << 20))
    await handle.sync()
    await handle.close()
    const status = await cairnFails(['status', '--master', master])
    t.regex(status.stdout, /space runs out/)
  },
)

test.serial('files that are open go on after a restart of the master, also removed ones', async t => {
  const cluster = await Cluster.start()
  const masters: ChildProcess[] = []
  t.teardown(() => masters.forEach(each => each.kill('SIGTERM')))
  t.teardown(() => cluster.dispose())
  const master = descendants(supervisorOf(cluster)).find(each => each.command.includes(' master '))
  const open = await fs.open(path.join(cluster.mount, 'open'), 'w+')
  await open.write('before ')
  const removed = await fs.open(path.join(cluster.mount, 'removed'), 'w+')
  await removed.write('before ')
  await removed.sync()
  await fs.rm(path.join(cluster.mount, 'removed'))

  t.truthy(master)
  kill9(master?.pid ?? -1)
  const waiting = fs.writeFile(path.join(cluster.mount, 'made-while-away'), 'x')
  const args = ['master', '--data', path.join(cluster.dir, 'master'), '--listen', masterOf(cluster)]
  masters.push(spawn(process.execPath, [cairnProgram, ...args], { stdio: 'ignore' }))
  await waiting
  for (const file of [open, removed]) {
    await file.write('after')
    await file.sync()
    const { buffer, bytesRead } = await file.read(Buffer.alloc(100), 0, 100, 0)
    t.is(buffer.toString('utf8', 0, bytesRead), 'before after')
  }
  t.is((await removed.stat()).nlink, 0)
  await open.close()
  await removed.close()
})

test.serial('after kill -9 of everything, whoever watched over the mount included, up clears it', async t => {
  const cluster = await Cluster.start()
  t.teardown(() => cluster.dispose())
  await fs.writeFile(path.join(cluster.mount, 'f'), 'kept')
  await cairn(['sync', cluster.mount])
  const all = descendants(supervisorOf(cluster))
  t.true(all.some(each => each.command.includes('cairn-guardian')))
  for (const each of [...all].reverse()) kill9(each.pid)
  await cluster.up()
  t.is(await fs.readFile(path.join(cluster.mount, 'f'), 'utf8'), 'kept')
  // The new mount proved that the old one is dead: nobody waited for its lease to run out.
  t.regex(readFileSync(path.join(cluster.dir, 'logs', 'master.log'), 'utf8'), /Its process has died/)
})

test.serial(
  'a master whose disk another program fills refuses changes, serves the rest, and goes on',
  async t => {
    const dir = mkdtempSync(path.join(os.tmpdir(), 'cairn-disk-'))
    const disk = path.join(dir, 'master')
    const mount = path.join(dir, 'mnt')
    await fs.mkdir(disk)
    await run('mount', ['-t', 'tmpfs', '-o', 'size=32m', 'tmpfs', disk])
    t.teardown(async () => {
      await cairnFails(['down', '--dir', dir])
      await run('umount', ['-l', mount]).catch(() => undefined)
      await run('umount', ['-l', disk])
      rmSync(dir, { recursive: true, force: true })
    })
    await cairn(['up', '--dir', dir, '--mount', mount, '--detach'])
    const masters = (): number[] => {
      const { pid } = JSON.parse(readFileSync(path.join(dir, 'running.json'), 'utf8')) as { pid: number }
      return descendants(pid)
        .filter(({ command }) => command.includes(' master '))
        .map(each => each.pid)
    }
    const before = masters()
    await fs.writeFile(path.join(mount, 'f'), 'kept')
    await cairn(['sync', mount])
    const made: string[] = []
    // The first ones may be promised before the mount hears of it, and are kept then.
    const isFull = async (): Promise<boolean> => {
      const name = `d${String(made.length)}`
      try {
        await fs.mkdir(path.join(mount, name))
      } catch (error) {
        t.is((error as NodeJS.ErrnoException).code, 'ENOSPC')
        return true
      }
      const folder = await fs.open(mount)
      await folder.sync().finally(() => folder.close())
      made.push(name)
      return false
    }
    // To the last byte, and on while the reserve is given up.
    for (let times = 0; times < 3; times++) {
      await run('dd', ['if=/dev/zero', `of=${path.join(disk, `filler-${String(times)}`)}`, 'bs=64k']).catch(
        () => undefined,
      )
      await eventually(t, 'the call says that there is no room', isFull)
      if (times === 0) t.is(await fs.readFile(path.join(mount, 'f'), 'utf8'), 'kept')
    }
    for (let times = 0; times < 3; times++) await fs.rm(path.join(disk, `filler-${String(times)}`))
    await eventually(t, 'changes are taken again', () =>
      fs.mkdir(path.join(mount, 'again')).then(
        () => true,
        () => false,
      ),
    )
    await fs.writeFile(path.join(mount, 'g'), 'also kept')
    await cairn(['sync', mount])
    t.is(await fs.readFile(path.join(mount, 'f'), 'utf8'), 'kept')
    t.deepEqual(masters(), before)
    const there = await fs.readdir(mount)
    t.deepEqual(
      made.filter(name => !there.includes(name)),
      [],
    )
    await cairn(['fsck', '--data', '--dir', dir])
  },
)

test.serial('copies set drops copies and makes them again', async t => {
  const cluster = await Cluster.start()
  t.teardown(() => cluster.dispose())
  const file = path.join(cluster.mount, 'f')
  await fs.writeFile(file, randomBytes(5 << 20))
  const copies = async (): Promise<string> =>
    (await infoOf(file)).extents.map(each => each.copies.length).join()
  t.is(await copies(), '3,3')
  for (const wanted of ['2', '3']) {
    await cairn(['copies', 'set', wanted, file])
    await eventually(t, `${wanted} copies`, async () => (await copies()) === `${wanted},${wanted}`)
    await cairn(['fsck', '--data', '--dir', cluster.dir])
  }
})

test.serial('formats of a newer version are refused with one line', async t => {
  const cluster = await Cluster.start({ chunkservers: 1, mount: false })
  t.teardown(() => cluster.dispose())
  await cluster.down()
  const change = async (folder: string, pattern: RegExp, sql: string): Promise<void> => {
    const dir = path.join(cluster.dir, folder)
    const name = readdirSync(dir).find(each => pattern.test(each))
    await run('sqlite3', [path.join(dir, name ?? 'none'), sql])
  }
  for (const [folder, set, known] of [
    ['master', 'update format set version =', schemaVersion],
    ['chunkserver-1', 'pragma user_version =', formatVersion],
  ] as const) {
    await change(folder, /\.(db|sqlite)$/, `${set} 99`)
    const refused = await cairnFails(['up', '--dir', cluster.dir, '--detach'])
    t.is(refused.code, 2)
    t.true(refused.stderr.includes(`99, this program knows up to ${String(known)}`), refused.stderr)
    t.is(refused.stderr.trim().split('\n').length, 1, refused.stderr)
    await change(folder, /\.(db|sqlite)$/, `${set} ${String(known)}`)
  }
  await cluster.up()
})
