import { execFile } from 'node:child_process'
import { promises as fs } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { cairn, Cluster } from '../support/cluster.js'

/** Programs that many machines run on one tree at once. */
const run = promisify(execFile)

async function twoMounts(t: ExecutionContext): Promise<{ cluster: Cluster; a: string; b: string }> {
  const cluster = await Cluster.start()
  t.teardown(() => cluster.dispose())
  return { cluster, a: cluster.mount, b: await cluster.addMount('second') }
}

test.serial('git: two mounts push to one repository at once, and no commit is lost', async t => {
  const { a, b } = await twoMounts(t)
  const git = async (dir: string, ...args: string[]): Promise<string> => {
    const who = ['-c', 'user.name=n', '-c', 'user.email=e@x', '-c', 'gc.auto=0']
    return (await run('git', [...who, '-C', dir, ...args])).stdout
  }
  await run('git', ['init', '-q', '--bare', '-b', 'main', path.join(a, 'r.git')])
  await run('git', ['clone', '-q', path.join(a, 'r.git'), path.join(a, 'first')])
  await fs.writeFile(path.join(a, 'first', 'start'), '')
  await git(path.join(a, 'first'), 'add', '.')
  await git(path.join(a, 'first'), 'commit', '-qm', 'start')
  await git(path.join(a, 'first'), 'push', '-q', 'origin', 'HEAD:main')
  const commits = 4
  const work = async (mount: string, name: string): Promise<void> => {
    const dir = path.join(mount, `work-${name}`)
    await run('git', ['clone', '-q', path.join(mount, 'r.git'), dir])
    for (let n = 0; n < commits; n++) {
      await fs.writeFile(path.join(dir, `${name}-${String(n)}`), name)
      await git(dir, 'add', '.')
      await git(dir, 'commit', '-qm', `${name} ${String(n)}`)
      for (;;) {
        await git(dir, 'pull', '-q', '--rebase', path.join(mount, 'r.git'), 'main')
        const pushed = await git(dir, 'push', '-q', path.join(mount, 'r.git'), 'HEAD:main').then(
          () => true,
          (error: unknown) => {
            // Somebody else was first: the only reason to fail.
            t.regex(
              (error as { stderr: string }).stderr,
              /fetch first|non-fast-forward|cannot lock ref|failed to update ref/,
            )
            return false
          },
        )
        if (pushed) break
      }
    }
  }
  await Promise.all([work(a, 'one'), work(b, 'two')])
  for (const mount of [a, b]) {
    const repository = path.join(mount, 'r.git')
    t.is((await git(repository, 'rev-list', '--count', 'main')).trim(), String(2 * commits + 1))
    await git(repository, 'fsck', '--full', '--strict')
  }
})

test.serial('a maildir takes deliveries from two mounts while both read and sort it', async t => {
  const { a, b } = await twoMounts(t)
  for (const name of ['tmp', 'new', 'cur']) await fs.mkdir(path.join(a, name))
  const messages = 40
  let delivering = 2
  const deliver = async (mount: string, who: string): Promise<void> => {
    for (let n = 0; n < messages; n++) {
      const name = `${who}.${String(n)}`
      const file = await fs.open(path.join(mount, 'tmp', name), 'wx')
      await file.writeFile(`message ${name}\n`)
      await file.sync()
      await file.close()
      await fs.link(path.join(mount, 'tmp', name), path.join(mount, 'new', name))
      await fs.unlink(path.join(mount, 'tmp', name))
    }
    delivering -= 1
  }
  const taken: string[] = []
  // Each renames to a name of its own: see the README on two mounts that rename one name to one other.
  const collect = async (mount: string, who: string): Promise<void> => {
    for (;;) {
      const last = delivering === 0
      const names = await fs.readdir(path.join(mount, 'new'))
      for (const name of names) {
        try {
          await fs.rename(path.join(mount, 'new', name), path.join(mount, 'cur', `${name}:2,${who}`))
        } catch (error) {
          // The reader on the other mount took it.
          t.is((error as NodeJS.ErrnoException).code, 'ENOENT')
          continue
        }
        taken.push(name)
        t.is(await fs.readFile(path.join(mount, 'cur', `${name}:2,${who}`), 'utf8'), `message ${name}\n`)
      }
      if (last && names.length === 0) return
    }
  }
  await Promise.all([deliver(a, 'one'), deliver(b, 'two'), collect(a, 'A'), collect(b, 'B')])
  t.is(new Set(taken).size, 2 * messages)
  t.is(taken.length, 2 * messages)
  for (const mount of [a, b]) {
    t.is((await fs.readdir(path.join(mount, 'cur'))).length, 2 * messages)
    t.deepEqual(await fs.readdir(path.join(mount, 'new')), [])
    t.deepEqual(await fs.readdir(path.join(mount, 'tmp')), [])
  }
})

test.serial(
  'make on two mounts whose clocks are an hour apart builds what is out of date, nothing else',
  async t => {
    const { cluster, a } = await twoMounts(t)
    // The second machine: its mount, and what runs there, live an hour later.
    const later = ['faketime', '-f', '+1h']
    const { exec } = await fakeMount(t, cluster, 'later', later)
    const b = path.join(cluster.dir, 'later')
    const parts = 12
    const names = Array.from({ length: parts }, (_, n) => `p${String(n)}`)
    await fs.mkdir(path.join(a, 'tree'))
    const makefile = [
      `all: ${names.map(name => `${name}.o`).join(' ')}`,
      '\tcat *.o > all',
      '%.o: %.c',
      '\tcp $< $@ && echo $< >> log',
    ]
    await fs.writeFile(path.join(a, 'tree', 'Makefile'), `${makefile.join('\n')}\n`)
    for (const name of names) await fs.writeFile(path.join(a, 'tree', `${name}.c`), name)
    const builders = {
      a: () => run('make', ['-j4', '-C', path.join(a, 'tree')]),
      b: () => exec('make', '-j4', '-C', path.join(b, 'tree')),
    }
    const built = async (mount: string): Promise<string[]> => {
      const log = path.join(mount, 'tree', 'log')
      const lines = (await fs.readFile(log, 'utf8').catch(() => '')).split('\n').filter(line => line !== '')
      await fs.rm(log, { force: true })
      return lines.sort()
    }
    await builders.a()
    t.deepEqual(await built(b), names.map(name => `${name}.c`).sort())
    await builders.b()
    t.deepEqual(await built(a), [])
    // Changed on one machine, built on the other, both ways.
    await exec('sh', '-c', `echo changed > ${path.join(b, 'tree', 'p3.c')}`)
    await builders.a()
    t.deepEqual(await built(b), ['p3.c'])
    await fs.writeFile(path.join(a, 'tree', 'p5.c'), 'changed')
    // Not touch(1): with libfaketime that sets the time itself.
    await exec('sh', '-c', `echo more >> ${path.join(b, 'tree', 'p7.c')}`)
    await builders.b()
    t.deepEqual(await built(a), ['p5.c', 'p7.c'])
    for (const build of [builders.a, builders.b]) {
      await build()
      t.deepEqual(await built(a), [])
    }
  },
)

/** Nothing but what the time is: neither what stat(2) shows, nor what utimensat(2) is given. */
const onlyTheClock = { FAKETIME_DONT_FAKE_MONOTONIC: '1', NO_FAKE_STAT: '1', FAKE_UTIME: '0' }

/** A mount whose process has another clock, and a way to run programs that have it, too. */
async function fakeMount(
  t: ExecutionContext,
  cluster: Cluster,
  name: string,
  fake: readonly string[],
): Promise<{ exec: (...command: string[]) => Promise<unknown> }> {
  const [faketime = '', ...how] = fake
  const environment = (await run(faketime, [...how, 'env'])).stdout
    .split('\n')
    .filter(line => /^(LD_PRELOAD|FAKETIME)/.test(line))
    .map(line => line.split('=', 2) as [string, string])
  const env = { ...process.env, ...Object.fromEntries(environment), ...onlyTheClock }
  const target = path.join(cluster.dir, name)
  await fs.mkdir(target)
  t.teardown(() => run('umount', ['-l', target]))
  await cairn(['mount', cluster.master, target, '--log', `${target}.log`], env)
  return { exec: async (program = '', ...args) => run(program, args, { env }) }
}
