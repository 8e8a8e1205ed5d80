import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { promises as fs, rmSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import test from 'ava'
import { cairn, cairnFails, cairnProgram, Cluster } from '../support/cluster.js'
import { kill9 } from '../support/processes.js'

/** The commands of operators on a real cluster: what they say, as JSON, as a table, and on a narrow terminal. */
const run = promisify(execFile)
let cluster: Cluster
test.before(async () => {
  cluster = await Cluster.start()
  await fs.mkdir(path.join(cluster.mount, 'd'))
  for (const name of ['a', 'b', 'c'])
    await fs.writeFile(path.join(cluster.mount, 'd', name), randomBytes(300_000))
  await cairn(['sync', cluster.mount])
})
test.after.always(() => cluster.dispose())

const at = (name: string): string => path.join(cluster.mount, name)

async function eventually(met: () => Promise<boolean>): Promise<boolean> {
  for (let tries = 0; tries < 300; tries++) {
    if (await met()) return true
    await sleep(100)
  }
  return false
}

interface Health {
  health: string
  findings: { code: string; severity: string; next: string[] }[]
}

test.serial('health is ok on one machine, and says that this is one machine', async t => {
  const { health, findings } = await cluster.json<Health>('health')
  t.is(health, 'ok')
  t.deepEqual(
    findings.map(({ code, severity }) => [code, severity]),
    [['copies-share-machines', 'note']],
  )
  t.true(findings.every(({ next }) => next.length > 0))
  t.regex(await cairn(['health', '--dir', cluster.dir]), /^Health {2}ok\n/)
})

test.serial('a chunkserver has a label, and is shown', async t => {
  await cairn(['node', 'label', '2', 'rack 3', '--dir', cluster.dir])
  t.like(await cluster.json('node', 'show', '2'), { id: 2, label: 'rack 3', state: 'up', reasons: [] })
  t.regex(await cairn(['node', 'ls', '--dir', cluster.dir]), /^2\track 3\t/m)
  const missing = await cairnFails(['node', 'show', '9', '--dir', cluster.dir])
  t.is(missing.code, 2)
  t.regex(missing.stderr, /there is no chunkserver 9: see cairn node ls/)
})

test.serial('who holds a lock and who waits for it', async t => {
  const flock = (...args: string[]): void => {
    const child = spawn('flock', [at('d/a'), ...args], { stdio: 'ignore', detached: true })
    // With the program that it runs, which has the file open, too.
    t.teardown(() => {
      if (child.pid !== undefined) kill9(-child.pid)
    })
  }
  interface Locks {
    locks: { path: string; kind: string; access: string; state: string; mount: number }[]
  }
  let found: Locks['locks'] = []
  const shows = (count: number): Promise<boolean> =>
    eventually(async () => {
      found = (await cluster.json<Locks>('lock', 'ls', at('d/a'))).locks
      return found.length === count
    })
  flock('sleep', '1000')
  t.true(await shows(1))
  flock('true')
  t.true(await shows(2))
  t.deepEqual(
    found.map(({ path: file, kind, access, state }) => [file, kind, access, state]),
    [
      ['/d/a', 'flock', 'write', 'held'],
      ['/d/a', 'flock', 'write', 'waiting'],
    ],
  )
  t.deepEqual((await cluster.json<Locks>('lock', 'ls', at('d/b'))).locks, [])
  const { leases } = await cluster.json<{ leases: { path: string; lease: string }[] }>('lease', 'ls', at('d'))
  t.deepEqual(
    leases.map(({ path: file, lease }) => [file, lease]),
    [['/d', 'write']],
  )
})

test.serial('where the copies of a folder are', async t => {
  const found = await cluster.json<{ files: number; blocks: number; nodes: { bytes: number }[] }>(
    ...['locate', '-r', at('d')],
  )
  t.like(found, { files: 3, blocks: 3 })
  t.deepEqual(
    found.nodes.map(({ bytes }) => bytes),
    [900_000, 900_000, 900_000],
  )
  t.like(await cluster.json('locate', '--offset', '299999', at('d/a')), { blocks: 1 })
  t.like(await cluster.json('locate', '--offset', '300000', at('d/a')), { blocks: 0 })
  const refused = await cairnFails(['locate', at('d')])
  t.is(refused.code, 2)
  t.regex(refused.stderr, /is a folder: add -r/)
})

test.serial('what was removed waits for its grace time', async t => {
  await fs.unlink(at('d/c'))
  interface Removal {
    paused: string
    condemned: { count: number; bytes: number }
  }
  t.true(
    await eventually(async () => {
      const { condemned } = await cluster.json<Removal>('gc', 'status')
      return condemned.count === 1 && condemned.bytes === 300_000
    }),
  )
})

test.serial('the caches are filled, and the folder measured and left as it was', async t => {
  const warm = JSON.parse(await cairn(['warmup', at('d'), '--json'])) as object
  t.like(warm, { files: 2, bytes: 600_000, failures: [] })
  const { stdout } = await cairnFails([
    ...['bench', cluster.mount, '--size', '2MiB', '--files', '5', '--seconds', '2', '--json'],
  ])
  const { figures, isMount } = JSON.parse(stdout) as { figures: { value: number }[]; isMount: boolean }
  t.true(isMount)
  t.is(figures.length, 7)
  t.true(figures.every(({ value }) => value > 0))
  t.deepEqual(await fs.readdir(cluster.mount), ['d'])
})

test.serial('what goes on now', async t => {
  const stop = new AbortController()
  const work = (async () => {
    for (let count = 0; !stop.signal.aborted; count++) {
      await fs.writeFile(at(`d/w${String(count % 5)}`), randomBytes(100))
      await fs.rm(at(`d/w${String(count % 5)}`))
    }
  })()
  interface Top {
    all: { perSecond: number; p50Ms?: number }
    operations: { operation: string }[]
    mounts: { callsPerSecond: number }[]
    nodes: object[]
  }
  const top = await cluster.json<Top>('top', '--interval', '1')
  stop.abort()
  await work
  t.true(top.all.perSecond > 0)
  t.true((top.all.p50Ms ?? 0) > 0)
  t.true(top.operations.some(({ operation }) => operation === 'unlink'))
  t.true((top.mounts[0]?.callsPerSecond ?? 0) > 0)
  t.is(top.nodes.length, 3)
  t.regex(await cairn(['top', '--interval', '1', '--dir', cluster.dir]), /^Operation\t/m)
})

test.serial('the doctor has the state of the cluster and the logs in its file', async t => {
  const file = path.join(cluster.dir, 'doctor.tar.gz')
  t.teardown(() => rmSync(file, { force: true }))
  const { code, stderr } = await cairnFails(['doctor', '--dir', cluster.dir, '--out', file])
  t.true(code === 0 || code === 1, stderr)
  const { stdout } = await run('tar', ['tzf', file])
  for (const name of [
    'causes.json',
    'versions.json',
    'cluster/status.json',
    'cluster/locks.json',
    'logs/master.log',
  ])
    t.true(stdout.split('\n').includes(`cairn-doctor/${name}`), name)
})

test.serial('on a terminal of 60 columns every line fits', async t => {
  const commands = [
    ...['health', 'status', 'node ls', 'node show 1', 'mount ls', 'lock ls', 'gc status', 'scrub status'],
    ...['lease ls --limit 5', 'repair status', 'rebalance status', 'top --once --interval 1'],
  ]
  for (const command of commands) {
    const line = `stty cols 60 rows 24; '${process.execPath}' '${cairnProgram}' ${command} --dir '${cluster.dir}'`
    const { stdout } = await run('script', ['-qec', line, '/dev/null'], {
      env: { ...process.env, TERM: 'xterm', NO_COLOR: '1', FORCE_COLOR: undefined },
    }).catch((error: unknown) => error as { stdout: string })
    t.true(stdout.length > 0, command)
    const long = stdout.split(/\r?\n/).filter(each => Array.from(each).length > 60)
    // A path or an address cannot be broken.
    t.deepEqual(
      long.filter(each => !/\S{40,}/.test(each)),
      [],
      command,
    )
  }
})

test.serial('a mount is ended only when that is confirmed, and comes back as a new one', async t => {
  interface MountLine {
    mount: number
    state: string
    mountpoint: string
  }
  const mounts = () => cluster.json<MountLine[]>('mount', 'ls')
  const [before] = await mounts()
  t.like(before, { state: 'connected', mountpoint: cluster.mount })
  const number = String(before?.mount)
  const asked = await cairnFails(['mount', 'evict', number, '--dir', cluster.dir])
  t.is(asked.code, 1)
  t.regex(asked.stdout, /would lose .*\n.*would give up .*\nAdd --yes to end it\.\n$/)
  t.regex(await cairn(['mount', 'evict', number, '--dry-run', '--dir', cluster.dir]), /would lose/)
  t.is((await mounts())[0]?.mount, before?.mount)
  t.like(await cluster.json('mount', 'evict', number, '--yes'), { done: true })
  t.true(
    await eventually(async () => {
      const [after] = await mounts()
      return after !== undefined && after.mount !== before?.mount && after.state === 'connected'
    }),
  )
  t.true(
    await eventually(() =>
      fs.readdir(cluster.mount).then(
        names => names.includes('d'),
        () => false,
      ),
    ),
  )
})
