import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  promises as fs,
  readdirSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { cairn, cairnFails, cairnProgram, Cluster } from '../support/cluster.js'
import { kill9 } from '../support/processes.js'

/** A master's database: backed up, lost, damaged, restored, repaired. */
const run = promisify(execFile)

async function eventually(t: ExecutionContext, what: string, met: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (await met()) return
    await sleep(200)
  }
  t.fail(what)
}

interface RestoreStatus {
  pending: boolean
  unverified: { node: number }[]
  surplus: { blocks: number }
  missing: { blocks: number; files: string[] }
}

/** Also with the exit code that means bad news. */
async function jsonOf<T>(...args: string[]): Promise<T> {
  const { stdout, stderr, code } = await cairnFails([...args, '--json'])
  if (code > 1 || stdout === '') throw new Error(`${args.join(' ')}: ${stderr}`)
  return JSON.parse(stdout) as T
}

/** Daemons that a test starts one by one, in a folder of its own. */
class Daemons {
  readonly dir = mkdtempSync(path.join(os.tmpdir(), 'cairn-backup-'))
  readonly #running: ChildProcess[] = []

  constructor(t: ExecutionContext) {
    t.teardown(async () => {
      await cairnFails(['umount', this.mount])
      for (const child of this.#running) if (child.pid !== undefined) kill9(child.pid)
      await run('umount', ['-l', this.mount]).catch(() => undefined)
      rmSync(this.dir, { recursive: true, force: true })
    })
  }

  get mount(): string {
    return path.join(this.dir, 'mnt')
  }

  in(...names: string[]): string {
    return path.join(this.dir, ...names)
  }

  async start(...args: string[]): Promise<{ address: string; pid: number }> {
    const child = spawn(process.execPath, [cairnProgram, ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#running.push(child)
    let log = ''
    child.stderr.on('data', (chunk: Buffer) => {
      log += chunk.toString()
    })
    for (let tries = 0; tries < 600 && child.exitCode === null; tries++) {
      const found = /"address":"([^"]+)"[^\n]*"Serving"/.exec(log)
      if (found !== null) return { address: found[1] ?? '', pid: child.pid ?? -1 }
      await sleep(50)
    }
    throw new Error(`${args.join(' ')}: ${log}`)
  }

  startMaster(listen: string, ...more: string[]): Promise<{ address: string; pid: number }> {
    return this.start('master', '--data', this.in('m'), '--listen', listen, ...more)
  }

  async startNodes(master: string, ...names: string[]): Promise<void> {
    for (const name of names)
      await this.start(
        ...['chunkserver', '--data', this.in(name), '--master', master, '--listen', '127.0.0.1:0'],
      )
  }
}

async function writeSynced(file: string, data: Buffer): Promise<void> {
  const handle = await fs.open(file, 'w')
  try {
    await handle.writeFile(data)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

test.serial(
  'a backup under load restores a lost master: mounts go on, nothing is removed before it is confirmed',
  async t => {
    const daemons = new Daemons(t)
    const { mount } = daemons
    const master = await daemons.startMaster('127.0.0.1:0')
    const at = ['--master', master.address]
    await daemons.startNodes(master.address, 'a', 'b', 'c')
    await fs.mkdir(mount)
    await cairn(['mount', master.address, mount, '--log', daemons.in('mount.log')])

    const before = new Map<string, Buffer>()
    for (let n = 0; n < 20; n++) {
      const data = randomBytes(n % 5 === 0 ? 300_000 : 500)
      before.set(path.join(mount, `before-${String(n)}`), data)
      await writeSynced(path.join(mount, `before-${String(n)}`), data)
    }
    const loading = { on: true }
    const load = (async () => {
      let n = 0
      for (; loading.on; n++) await writeSynced(path.join(mount, `load-${String(n)}`), randomBytes(2000))
      return n
    })()
    const backup = daemons.in('backup.db')
    const made = await jsonOf<{ problems: string[]; cluster: string; bytes: number; taken: string }>(
      ...['backup', backup, ...at],
    )
    loading.on = false
    t.true((await load) > 0)
    t.deepEqual(made.problems, [])
    t.is(statSync(backup).size, made.bytes)
    t.deepEqual(
      readdirSync(daemons.dir).filter(name => name.endsWith('.new')),
      [],
    )

    const lost = path.join(mount, 'written-after')
    await writeSynced(lost, randomBytes(300_000))
    const info = await jsonOf<{ extents: { block: string; copies: unknown[] }[] }>('info', lost)
    const block = info.extents[0]?.block ?? 'none'
    const copies = (): number =>
      ['a', 'b', 'c'].filter(name => existsSync(daemons.in(name, 'blocks', block.slice(0, 2), block))).length
    t.is(copies(), 3)

    kill9(master.pid)
    rmSync(daemons.in('m'), { recursive: true })
    const restored = await jsonOf<{ restored: boolean; cluster: string }>(
      ...['restore', backup, '--data', daemons.in('m')],
    )
    t.like(restored, { restored: true, cluster: made.cluster })
    const second = await daemons.startMaster(master.address)
    t.is(second.address, master.address)

    for (const [file, data] of before)
      await eventually(t, `${file} can be read`, () =>
        fs.readFile(file).then(
          found => found.equals(data),
          () => false,
        ),
      )
    await eventually(t, 'what was written after the backup is not there', () =>
      fs.stat(lost).then(
        () => false,
        (error: unknown) => (error as NodeJS.ErrnoException).code === 'ENOENT',
      ),
    )
    const status = (): Promise<RestoreStatus> => jsonOf<RestoreStatus>('restore', 'status', ...at)
    await eventually(
      t,
      'every chunkserver was compared',
      async () => (await status()).unverified.length === 0,
    )
    const report = await status()
    t.true(report.pending)
    t.true(report.surplus.blocks > 0)
    t.deepEqual(report.missing, { blocks: 0, bytes: 0, files: [], moreFiles: false } as never)
    const shown = await jsonOf<{ reasons: string[]; restore: { pending: boolean } }>('status', ...at)
    t.true(shown.restore.pending)
    t.true(shown.reasons.some(reason => reason.includes('nothing is removed until cairn restore confirm')))

    // The same mount writes on; what it removes stays on the nodes as well.
    const data = randomBytes(300_000)
    await writeSynced(path.join(mount, 'again'), data)
    await cairn(['umount', mount])
    await cairn(['mount', master.address, mount, '--log', daemons.in('mount.log')])
    t.true((await fs.readFile(path.join(mount, 'again'))).equals(data))
    for (const [file, content] of before) t.true((await fs.readFile(file)).equals(content), file)
    t.is(copies(), 3)
    t.is((await cairnFails(['restore', 'status', ...at])).code, 1)
    await cairn(['restore', 'confirm', ...at])
    await cairn(['restore', 'status', ...at])
    await cairn(['fsck', '--data', ...at])
    t.deepEqual((await jsonOf<{ reasons: string[] }>('status', ...at)).reasons, [])
  },
)

interface LogStatus {
  wanted: number
  lagMs: number
  covered: number
  followers: { node: number; address: string; whole: boolean }[]
}

test.serial(
  'a master whose disk is lost comes back from its chunkservers, up to its last second',
  async t => {
    const daemons = new Daemons(t)
    const { mount } = daemons
    const master = await daemons.startMaster('127.0.0.1:0')
    const at = ['--master', master.address]
    const nodes = new Map<string, { name: string; pid: number }>()
    for (const name of ['a', 'b', 'c']) {
      const folder = daemons.in(name)
      const node = await daemons.start(
        ...['chunkserver', '--data', folder, ...at, '--listen', '127.0.0.1:0', '--zone', name],
      )
      nodes.set(node.address, { name, pid: node.pid })
    }
    await fs.mkdir(mount)
    await cairn(['mount', master.address, mount, '--log', daemons.in('mount.log')])
    const log = async (): Promise<LogStatus> => (await jsonOf<{ log: LogStatus }>('status', ...at)).log
    /** All that was committed up to now is on two nodes. */
    const covered = async (): Promise<void> => {
      const now = Date.now() * 1e6
      await eventually(t, 'the log follows', async () => (await log()).covered > now)
    }
    const written = new Map<string, Buffer>()
    const write = async (name: string, data: Buffer): Promise<void> => {
      await writeSynced(path.join(mount, name), data)
      written.set(name, data)
    }
    for (let n = 0; n < 30; n++) await write(`before-${String(n)}`, randomBytes(n % 10 === 0 ? 300_000 : 500))
    await covered()
    for (let n = 0; n < 30; n++) await write(`after-${String(n)}`, randomBytes(800))
    await fs.rename(path.join(mount, 'before-1'), path.join(mount, 'renamed'))
    written.set('renamed', written.get('before-1') ?? Buffer.alloc(0))
    written.delete('before-1')
    await covered()
    const { wanted, followers } = await log()
    t.is(wanted, 2)
    t.is(followers.filter(({ whole }) => whole).length, 2)

    // The disk of the master goes, and one of the two nodes that have its log does not answer.
    kill9(master.pid)
    rmSync(daemons.in('m'), { recursive: true })
    const victim = followers[0]?.address ?? ''
    kill9(nodes.get(victim)?.pid ?? -1)
    const nowhere = await cairnFails(['restore', '--from-nodes', victim, '--data', daemons.in('m')])
    t.is(nowhere.code, 2)
    t.regex(nowhere.stderr, /None of these chunkservers has a copy of a master's database/)
    const restored = await jsonOf<{ restored: boolean; problems: string[]; fromNodes: { records: number } }>(
      ...['restore', '--from-nodes', ...nodes.keys(), '--data', daemons.in('m')],
    )
    t.like(restored, { restored: true, problems: [] })
    t.true(restored.fromNodes.records > 0)
    t.deepEqual(
      readdirSync(daemons.in('m')).filter(name => name.includes('from-nodes')),
      [],
    )

    const second = await daemons.startMaster(master.address)
    t.is(second.address, master.address)
    const folder = daemons.in(nodes.get(victim)?.name ?? '')
    await daemons.start(...['chunkserver', '--data', folder, ...at, '--listen', victim])
    const readable = async (name: string, data: Buffer): Promise<boolean> =>
      fs.readFile(path.join(mount, name)).then(
        found => found.equals(data),
        () => false,
      )
    for (const [name, data] of written)
      await eventually(t, `${name} is what it was`, () => readable(name, data))
    t.deepEqual((await fs.readdir(mount)).sort(), [...written.keys()].sort())
    await eventually(t, 'the restore can be confirmed', async () => {
      const status = await jsonOf<RestoreStatus>('restore', 'status', ...at)
      return status.pending && status.unverified.length === 0
    })
    t.deepEqual((await jsonOf<RestoreStatus>('restore', 'status', ...at)).missing.files, [])
    await cairn(['restore', 'confirm', ...at])
    await cairn(['fsck', '--data', ...at])
    // And it is kept anew.
    await write('again', randomBytes(1000))
    await covered()
    t.deepEqual((await jsonOf<{ reasons: string[] }>('status', ...at)).reasons, [])
  },
)

test.serial('copies are taken by themselves, and are shown', async t => {
  const daemons = new Daemons(t)
  const { address } = await daemons.startMaster(
    '127.0.0.1:0',
    '--backup-every',
    '1s',
    '--backup-hourly',
    '1',
    '--backup-daily',
    '0',
  )
  interface Backups {
    count: number
    taken: number
    ageMs: number
    failing: string
    everyMs: number
  }
  const backups = async (): Promise<Backups> =>
    (await jsonOf<{ backups: Backups }>('status', '--master', address)).backups
  await eventually(t, 'a copy', async () => (await backups()).count > 0)
  const first = await backups()
  t.like(first, { failing: '', everyMs: 1000 })
  await eventually(t, 'a newer copy', async () => (await backups()).taken > first.taken)
  t.true((await backups()).count <= 2, 'an hour may just have begun')
})

test.serial(
  'a damaged database is refused with the line that restores it; a lost one is not made anew',
  async t => {
    const cluster = await Cluster.start({ chunkservers: 1, mount: false })
    t.teardown(() => cluster.dispose())
    await cairn(['backup', path.join(cluster.dir, 'backup.db'), '--dir', cluster.dir])
    await cluster.down()
    const folder = path.join(cluster.dir, 'master')
    const database = path.join(folder, 'master.db')
    const fd = openSync(database, 'r+')
    writeSync(fd, Buffer.alloc(30_000, 0xee), 0, 30_000, 8192)
    closeSync(fd)
    const damaged = await cairnFails(['up', '--dir', cluster.dir, '--detach'])
    t.is(damaged.code, 2)
    t.is(damaged.stderr.trim().split('\n').length, 1, damaged.stderr)
    const command = /is damaged \(.*\): restore it with cairn (restore (\S+) --data (\S+))/.exec(
      damaged.stderr,
    )
    t.truthy(command, damaged.stderr)

    rmSync(database)
    const gone = await cairnFails(['up', '--dir', cluster.dir, '--detach'])
    t.is(gone.code, 2)
    t.regex(gone.stderr, /had a master's database, which is gone: restore it with cairn restore /)
    t.false(existsSync(database))

    await cairn((command?.[1] ?? '').split(' '))
    await cluster.up()
    t.is(
      (await cairnFails(['restore', path.join(cluster.dir, 'backup.db'), '--data', folder])).code,
      2,
      'in use',
    )
    await eventually(t, 'compared', async () => {
      const { unverified } = await jsonOf<RestoreStatus>('restore', 'status', '--dir', cluster.dir)
      return unverified.length === 0
    })
    await cairn(['restore', 'confirm', '--dir', cluster.dir])
    await cairn(['fsck', '--dir', cluster.dir])
    await cluster.down()

    // What is no backup, a damaged one and one of another cluster change nothing.
    const bytes = await fs.readFile(path.join(cluster.dir, 'backup.db'))
    const text = path.join(cluster.dir, 'text')
    const rotten = path.join(cluster.dir, 'rotten.db')
    await fs.writeFile(text, 'no backup '.repeat(1000))
    await fs.writeFile(rotten, Buffer.from(bytes).fill(0xee, 8192, 38_000))
    const was = await fs.readFile(database)
    for (const file of [text, rotten, path.join(cluster.dir, 'none')]) {
      const refused = await cairnFails(['restore', file, '--data', folder])
      t.true(refused.code > 0, file)
      t.true((refused.stderr + refused.stdout).trim().split('\n').length <= 30)
      t.true((await fs.readFile(database)).equals(was), file)
    }
    const other = path.join(cluster.dir, 'other.db')
    await fs.copyFile(path.join(cluster.dir, 'backup.db'), other)
    await run('sqlite3', [other, "update format set cluster = x'00112233445566778899aabbccddeeff'"])
    const foreign = await cairnFails(['restore', other, '--data', folder])
    t.is(foreign.code, 2)
    t.regex(foreign.stderr, /of cluster 00112233/)
    // A backup that is put in place by hand is no database to go on with.
    await fs.copyFile(path.join(cluster.dir, 'backup.db'), database)
    const byHand = await cairnFails(['up', '--dir', cluster.dir, '--detach'])
    t.regex(byHand.stderr, /is a backup.*cairn restore/)
    await cairn(['restore', database, '--data', folder])
    await cluster.up()
  },
)

test.serial('fsck --repair says what it would do, and does it', async t => {
  const cluster = await Cluster.start({ chunkservers: 1, mount: false })
  t.teardown(() => cluster.dispose())
  await cluster.down()
  const folder = path.join(cluster.dir, 'master')
  t.is((await cairnFails(['fsck', '--repair', folder])).code, 0)
  await run('sqlite3', [path.join(folder, 'master.db'), 'update inodes set nlink = 5'])
  const rehearsal = await cairnFails(['fsck', '--repair', folder])
  t.is(rehearsal.code, 1)
  t.regex(rehearsal.stdout, /^would count 2 links of directory 1$/m)
  t.regex(
    (await cairnFails(['fsck', '--repair', folder])).stdout,
    /would count 2 links/,
    'nothing was changed',
  )
  t.regex(await cairn(['fsck', '--repair', folder, '--yes']), /^did count 2 links of directory 1$/m)
  t.true(readdirSync(folder).some(name => name.startsWith('master.db.before-repair-')))
  await cluster.up()
  await cairn(['fsck', '--dir', cluster.dir])
  t.is((await cairnFails(['fsck', '--repair', folder])).code, 2, 'in use')
})
