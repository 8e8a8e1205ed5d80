import test from 'ava'
import type { FsError } from '#src/core/errors.ts'
import { Reader } from '#src/mount/reader.ts'
import { ManualEnv } from './manual-env.ts'
import { content, make, Mounts, reading, root } from './mounts-fixture.ts'

function waiting() {
  const env = new ManualEnv()
  const interrupt = new AbortController()
  const killed = new Set<number>()
  const caller = { uid: 0, gid: 0, pid: 42, signal: interrupt.signal }
  const reader = new Reader(caller, env.timers, pid => killed.has(pid))
  return { env, interrupt, killed, reader }
}

test('who is being killed is let go when the kernel says so', t => {
  const { interrupt, killed, reader } = waiting()
  const { signal } = reader
  killed.add(42)
  t.false(signal.aborted)
  interrupt.abort()
  t.true(signal.aborted)
  t.is((signal.reason as FsError).code, 'EINTR')
})

test('another signal ends no wait, but a kill after it does, of which the kernel says nothing', async t => {
  const { env, interrupt, killed, reader } = waiting()
  interrupt.abort()
  const { signal } = reader
  await env.advance(10_000)
  t.false(signal.aborted)
  killed.add(42)
  await env.advance(250)
  t.true(signal.aborted)
})

test('nobody looks after a read that is over', async t => {
  const { env, interrupt, killed, reader } = waiting()
  const { signal } = reader
  interrupt.abort()
  reader.over()
  killed.add(42)
  await env.advance(10_000)
  t.false(signal.aborted)
})

test('a reader that waits for bytes, or for the lease, is let go when it is killed', async t => {
  await using mounts = await Mounts.start()
  const mount = await mounts.mount()
  const { ino, handle } = await make(mount, mount.fs.root, 'f', 'bytes')
  await mount.fs.fsync(ino, handle)
  mounts.killed.add(42)
  const interrupt = new AbortController()
  const caller = { ...root, pid: 42, signal: interrupt.signal }
  const wait = new Promise<void>(resolve => setTimeout(resolve, 300))
  mount.data.file(ino).coming = wait
  const bytes = mount.fs.read(ino, handle, 0, 10, true, caller)
  // One that no longer has the lease asks for it.
  const other = await mounts.mount()
  const { handle: theirs } = await other.fs.open(ino, reading, root)
  await mount.fs.setattr(ino, { mode: 0o600 }, undefined, root)
  await new Promise(resolve => setTimeout(resolve, 50))
  other.calls.length = 0
  const leased = other.fs.read(ino, theirs, 0, 10, true, caller)
  t.deepEqual(other.calls, ['acquire'])
  interrupt.abort()
  t.is((await t.throwsAsync<FsError>(Promise.resolve(bytes))).code, 'EINTR')
  t.is((await t.throwsAsync<FsError>(Promise.resolve(leased))).code, 'EINTR')
  t.is(await content(mount, ino, handle), 'bytes')
  t.is(await content(other, ino, theirs), 'bytes')
})
