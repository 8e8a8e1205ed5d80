// The life of a mount: its end by every way, and what it refuses. Needs root and /dev/fuse.
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { readFile, stat, writeFile } from 'node:fs/promises'
import test, { type ExecutionContext } from 'ava'
import { MountedMemory } from '../support/mounted-memory.ts'

const mounts = (path: string): string[] =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter(line => line.split(' ')[4] === path)

async function eventually(t: ExecutionContext, what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 100; i++) {
    if (holds()) {
      t.pass(what)
      return
    }
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  t.fail(`never: ${what}`)
}

/** The shell that watches over a mount. */
function guardianOf(path: string): number {
  for (const pid of readdirSync('/proc').filter(name => /^\d+$/.test(name))) {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
      if (words[3] === 'cairn-guardian' && words[5] === path) return Number(pid)
    } catch {
      // Ended meanwhile.
    }
  }
  return 0
}

async function started(t: ExecutionContext, path?: string): Promise<MountedMemory> {
  const mounted = await MountedMemory.start({}, 'epoll', path)
  t.teardown(() => mounted.close().catch(() => undefined))
  return mounted
}

const refused = (t: ExecutionContext, path: string, reason: RegExp): Promise<Error | undefined> =>
  t.throwsAsync(MountedMemory.start({}, 'epoll', path), { message: reason })

test('shows as fuse.cairn, reads ahead 4 MiB, and leaves nothing when unmounted', async t => {
  const mounted = await started(t)
  const [line = ''] = mounts(mounted.path)
  t.regex(line, / - fuse\.cairn memory:1 rw,/)
  t.is(readFileSync(`/sys/class/bdi/${line.split(' ')[2] ?? ''}/read_ahead_kb`, 'utf8'), '4096\n')
  t.not(guardianOf(mounted.path), 0)
  mounted.unmount()
  await mounted.exited
  t.is(guardianOf(mounted.path), 0)
  t.deepEqual(mounts(mounted.path), [])
})

test('a killed process leaves no dead mount point', async t => {
  const mounted = await started(t)
  const fd = openSync(`${mounted.path}/f`, 'w')
  await mounted.kill('SIGKILL')
  await eventually(t, 'the path is a plain folder again', () => mounts(mounted.path).length === 0)
  t.deepEqual(readdirSync(mounted.path), [])
  t.throws(() => fstatSync(fd), { code: 'ENOTCONN' })
  t.throws(() => closeSync(fd), { code: 'ENOTCONN' })
  await eventually(t, 'the guardian has ended', () => guardianOf(mounted.path) === 0)
})

test('a guardian touches no other mount at its path', async t => {
  const first = await started(t)
  const second = await MountedMemory.start({}, 'epoll', MountedMemory.newFolder())
  t.teardown(() => second.close())
  // Covers the first mount by something else, then by another mount of ours.
  execFileSync('mount', ['--bind', second.path, first.path])
  t.teardown(() => execFileSync('umount', ['-l', first.path]))
  await first.kill('SIGKILL')
  await eventually(t, 'the guardian has ended', () => guardianOf(first.path) === 0)
  t.is(mounts(first.path).length, 2)
  await writeFile(`${first.path}/f`, 'second')
  t.is(await readFile(`${second.path}/f`, 'utf8'), 'second')
})

test('a dead mount is cleared by the next start', async t => {
  const mounted = await started(t)
  process.kill(guardianOf(mounted.path), 'SIGKILL')
  await mounted.kill('SIGKILL')
  await t.throwsAsync(stat(mounted.path), { code: 'ENOTCONN' })
  const again = await started(t, mounted.path)
  t.is(mounts(mounted.path).length, 1)
  t.regex(again.said, /clears a dead mount/)
})

test('with files open, unmount is refused and a lazy one waits for them', async t => {
  const mounted = await started(t)
  const fd = openSync(`${mounted.path}/f`, 'w+')
  const busy = t.throws(() => mounted.unmount())
  t.regex(busy.message, /busy/)
  process.kill(mounted.pid, 'SIGTERM')
  await eventually(t, 'the path is a plain folder again', () => mounts(mounted.path).length === 0)
  writeFileSync(fd, 'still works')
  t.is(fstatSync(fd).size, 11)
  closeSync(fd)
  await mounted.exited
  t.regex(mounted.said, /^calls .* destroyed true/)
})

test('an aborted connection ends the process and clears the mount', async t => {
  const mounted = await started(t)
  const device = (mounts(mounted.path)[0] ?? '').split(' ')[2] ?? ''
  const control = MountedMemory.newFolder()
  execFileSync('mount', ['-t', 'fusectl', 'none', control])
  t.teardown(() => {
    execFileSync('umount', [control])
    rmdirSync(control)
  })
  writeFileSync(`${control}/${device.split(':')[1] ?? ''}/abort`, '1')
  await mounted.exited
  await eventually(t, 'the path is a plain folder again', () => mounts(mounted.path).length === 0)
})

test('what cannot be mounted on is refused in one line', async t => {
  const path = MountedMemory.newFolder()
  t.teardown(() => rmSync(path, { recursive: true }))
  await refused(t, `${path}/missing`, /mount point .*missing does not exist/)
  mkdirSync(`${path}/full/inner`, { recursive: true })
  await refused(t, `${path}/full`, /is not empty/)
  writeFileSync(`${path}/file`, '')
  await refused(t, `${path}/file`, /is not a directory/)
  await refused(t, `${path}/file/below`, /is not a directory/)
  const mounted = await started(t)
  await refused(t, mounted.path, /is a mount point already \(fuse\.cairn memory:1\)/)
  await refused(t, '/proc', /is a mount point already \(proc proc\)/)
})

test('names with blanks and other letters can be mounted on, and are cleared', async t => {
  const folder = MountedMemory.newFolder()
  const path = `${folder}/a b\\c\tdé`
  mkdirSync(path)
  t.teardown(() => rmdirSync(folder))
  const mounted = await started(t, path)
  writeFileSync(`${path}/f`, 'x')
  await mounted.kill('SIGKILL')
  await eventually(
    t,
    'nothing is mounted',
    () => !readFileSync('/proc/self/mountinfo', 'utf8').includes(folder),
  )
  await eventually(t, 'and the folder is empty', () => readdirSync(path).length === 0)
})
