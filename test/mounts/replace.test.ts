/** The process that serves a mount is replaced by another one, while programs use the mount. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import anyTest, { type ExecutionContext, type TestFn } from 'ava'
import { processStart } from '#src/cli/local/layout.ts'
import { askMount } from '#src/cli/local/mount-control.ts'
import { cairn, cairnFails, Cluster } from '../support/cluster.js'
import { Locker } from '../support/locker.js'
import { runPython } from '../support/run-python.js'

const test = anyTest as TestFn<{ cluster: Cluster }>
const run = promisify(execFile)
const script = (name: string): string =>
  fileURLToPath(new URL(`../../../test/support/${name}`, import.meta.url))

test.before(async t => {
  t.context.cluster = await Cluster.start({ chunkservers: 3 })
})

test.after.always(async t => {
  await (t.context.cluster as Cluster | undefined)?.dispose()
})

/** A program that does what it is told, a word a line, and answers with a line. */
class Told {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>

  constructor(t: ExecutionContext, name: string, ...args: string[]) {
    const child = spawn('/usr/bin/python3', [script(name), ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
    t.teardown(() => child.kill('SIGKILL'))
    this.#child = child
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  }

  async ask(word: string): Promise<string> {
    this.#child.stdin?.write(`${word}\n`)
    const next = await this.#lines.next()
    return next.done === true ? 'ended' : next.value
  }

  /** Has it end by itself, with all that it has open. */
  async end(): Promise<void> {
    const ended = once(this.#child, 'exit')
    this.#child.stdin?.end()
    await ended
  }
}

async function killed(program: Locker): Promise<string> {
  const answer = program.ask('read')
  program.kill()
  return answer
}

interface Replaced {
  readonly pid: number
  readonly before: number
  readonly program: string
}

const replace = async (mount: string): Promise<Replaced> =>
  JSON.parse(await cairn(['mount', '--replace', mount, '--json'])) as Replaced

const mountsAt = async (cluster: Cluster, path: string): Promise<{ mount: string; pid: number }[]> =>
  (await cluster.json<{ mount: string; mountpoint: string; pid: number }[]>('mount', 'ls'))
    .filter(({ mountpoint }) => mountpoint === path)
    .map(({ mount, pid }) => ({ mount, pid }))

const sessionsOf = async (cluster: Cluster, path: string): Promise<string[]> =>
  (await mountsAt(cluster, path)).map(({ mount }) => mount)

test('nothing is lost when the process behind a mount is replaced again and again under load', async t => {
  const { cluster } = t.context
  const [mount, other] = [await cluster.addMount('replaced'), await cluster.addMount('other')]
  const holder = new Told(t, 'mount_holder.py', mount)
  t.is(await holder.ask('look'), 'ok')
  const stop = path.join(cluster.dir, 'stop')
  const writer = run('/usr/bin/python3', [script('synced_writer.py'), mount, stop], { maxBuffer: 1 << 20 })
  const programs: Locker[] = []
  const program = (file: string): Locker => {
    const made = new Locker(file)
    programs.push(made)
    return made
  }
  t.teardown(() => {
    for (const each of programs) each.kill()
  })
  writeFileSync(path.join(mount, 'waited'), 'before')
  const first = program(path.join(mount, 'waited'))
  t.is(await first.ask('lock'), 'ok')
  const [second, third] = [program(path.join(mount, 'waited')), program(path.join(mount, 'waited'))]
  const got = second.ask('wait')
  const never = third.ask('wait')
  const elsewhere = program(path.join(other, 'waited'))
  const session = await sessionsOf(cluster, mount)
  t.is(session.length, 1)

  let pid = 0
  for (let round = 1; round <= 3; round++) {
    await sleep(300)
    const replaced = await replace(mount)
    t.true(pid === 0 || replaced.before === pid)
    t.not(replaced.pid, replaced.before)
    pid = replaced.pid
    t.is(await holder.ask('look'), 'ok', `round ${round}`)
    t.is(await elsewhere.ask('lock'), 'EAGAIN')
    const { stdout } = await run('/usr/bin/python3', [
      '-c',
      `import fcntl, os
def taken(name, lock):
    fd = os.open(os.path.join(${JSON.stringify(other)}, name), os.O_RDWR)
    try: lock(fd)
    except BlockingIOError: return True
    return False
print(taken("flocked", lambda fd: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)),
      taken("locked", lambda fd: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 60)),
      taken("locked", lambda fd: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 10)))`,
    ])
    t.is(stdout.trim(), 'True True False')
  }
  t.deepEqual(await mountsAt(cluster, mount), [{ mount: session[0] ?? '', pid }], 'the session goes on')

  // A signal reaches who has waited since before the first.
  t.is(await killed(third), 'ended')
  t.is(await never, 'ended')
  t.is(await first.ask('unlock'), 'ok')
  t.is(await got, 'ok')
  t.is(await elsewhere.ask('lock'), 'EAGAIN')
  t.is(await second.ask('unlock'), 'ok')
  t.is(await elsewhere.ask('lock'), 'ok')

  t.is(await holder.ask('look'), 'ok')
  t.is(await holder.ask('end'), 'ok')
  writeFileSync(stop, '')
  const written = Number((await writer).stdout)
  t.true(written > 3, `${written} records`)
  const records = readFileSync(path.join(other, 'records'))
  t.is(records.length, written * 10_000)
  for (let i = 0; i < written; i++)
    t.is(records.toString('latin1', i * 10_000, i * 10_000 + 9), String(i).padStart(9, '0'))

  await holder.end()
  for (const each of [first, second]) await killed(each)
  await t.notThrowsAsync(cairn(['umount', mount]))
  t.deepEqual(await sessionsOf(cluster, mount), [])
  t.is(processStart(pid), undefined)
})

test('mounts are replaced while programs on them contend for the same files', async t => {
  const { cluster } = t.context
  const mounts = [await cluster.addMount('contended-1'), await cluster.addMount('contended-2')]
  const programs = Promise.all([
    runPython('coherence_contend.py', ['4', '300', '1', ...mounts]),
    runPython('coherence_append.py', ['4', '80', '1', ...mounts]),
  ])
  const state = { over: false }
  const ended = programs.finally(() => {
    state.over = true
  })
  ended.catch(() => undefined)
  let replaced = 0
  const refused: string[] = []
  while (!state.over) {
    for (const mount of mounts) {
      const { code, stderr } = await cairnFails(['mount', '--replace', mount])
      if (code === 0) replaced++
      // It may be that it does not come to rest just now.
      else refused.push(stderr)
    }
  }
  const [contended, appended] = await ended
  t.is(contended.at(-1), '1200')
  t.deepEqual(appended, ['320'])
  t.log(`${replaced} times replaced, ${refused.length} times not: ${refused.join('')}`)
  t.true(replaced >= 2)
  for (const why of refused) t.regex(why, /does not come to rest/)
})

test('when its process is killed after it was replaced, the mount is cleared away', async t => {
  const { cluster } = t.context
  const mount = await cluster.addMount('killed')
  const { pid } = await replace(mount)
  process.kill(pid, 'SIGKILL')
  for (let tries = 0; tries < 200 && readFileSync('/proc/mounts', 'utf8').includes(` ${mount} `); tries++)
    await sleep(50)
  t.false(readFileSync('/proc/mounts', 'utf8').includes(` ${mount} `))
})

/** Programs that are no successor, by how they fail. */
const failures: Readonly<Record<string, readonly [string, RegExp]>> = {
  'ends at once': ['process.exit(3)', /it ended/],
  'says what is no message': [
    `require('node:fs').writeSync(3, 'hello\\n'); setInterval(() => {}, 1000)`,
    /no JSON/,
  ],
  'is of another format': [
    `require('node:fs').writeSync(3, '{"say":"prepared","format":99,"program":"9.9.9"}\\n'); setInterval(() => {}, 1000)`,
    /it is 9\.9\.9, whose handover is of format 99/,
  ],
  'ends when it has the state': [
    `require('node:fs').writeSync(3, '{"say":"prepared","format":1,"program":"9.9.9"}\\n')
     const socket = new (require('node:net').Socket)({ fd: 3, readable: true })
     socket.once('data', () => process.exit(1))`,
    /it ended/,
  ],
  'refuses the state': [
    `require('node:fs').writeSync(3, '{"say":"prepared","format":1,"program":"9.9.9"}\\n')
     const socket = new (require('node:net').Socket)({ fd: 3, readable: true })
     socket.once('data', () => require('node:fs').writeSync(3, '{"say":"refused","why":"not today"}\\n'))`,
    /not today/,
  ],
}

test('a successor that fails leaves the mount as it is', async t => {
  const { cluster } = t.context
  const mount = await cluster.addMount('kept')
  const { pid } = await replace(mount)
  const file = path.join(mount, 'file')
  writeFileSync(file, 'before')
  const [holder, waiter] = [new Locker(file), new Locker(file)]
  t.teardown(() => {
    holder.kill()
    waiter.kill()
  })
  t.is(await holder.ask('lock'), 'ok')
  const got = waiter.ask('wait')
  const session = await sessionsOf(cluster, mount)
  for (const [name, [source, why]] of Object.entries(failures)) {
    const program = path.join(cluster.dir, 'successor.cjs')
    writeFileSync(program, source)
    await t.throwsAsync(
      askMount(pid, { do: 'replace', node: process.execPath, nodeOptions: [], file: program }),
      { message: why },
      name,
    )
    t.is(await holder.ask('read'), 'before', name)
    writeFileSync(path.join(mount, name), name)
    t.is(readFileSync(path.join(mount, name), 'utf8'), name)
  }
  t.is(await holder.ask('unlock'), 'ok')
  t.is(await got, 'ok')
  t.deepEqual(await sessionsOf(cluster, mount), session)
  t.not((await replace(mount)).pid, pid)
  t.is(await waiter.ask('read'), 'before')
})

test('what cannot be replaced is refused in one line', async t => {
  const { cluster } = t.context
  const refusals: readonly (readonly [readonly string[], RegExp])[] = [
    [[cluster.dir], /^cairn: .* is not a Cairn mount\n$/],
    [[cluster.mount], /^cairn: it belongs to cairn up, which waits for its end: start that anew\n$/],
    [
      ['127.0.0.1:1', cluster.mount],
      /^cairn: --replace goes on with the settings that it has: give the path alone\n$/,
    ],
  ]
  for (const [args, said] of refusals) {
    const { code, stderr } = await cairnFails(['mount', '--replace', ...args])
    t.is(code, 2)
    t.regex(stderr, said)
  }
})
