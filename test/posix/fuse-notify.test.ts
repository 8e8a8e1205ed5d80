// What the kernel is told to forget, it asks for again. Needs root and /dev/fuse.
import { readFileSync } from 'node:fs'
import { open, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import test, { type ExecutionContext } from 'ava'
import { S_IFREG } from '#src/core/attr.ts'
import { FuseDriver } from '#src/fuse/driver.ts'
import { MemoryFileSystem } from '../support/memory-filesystem.ts'
import { MountedMemory } from '../support/mounted-memory.ts'
import { stderrLog } from '../support/stderr-log.ts'

/** A mount whose answers the kernel may keep for an hour. */
async function mount(t: ExecutionContext): Promise<MountedMemory> {
  const mounted = await MountedMemory.start({ ttlMs: 3_600_000 })
  t.teardown(() => mounted.close())
  return mounted
}

const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

test('attributes and pages', async t => {
  const mounted = await mount(t)
  const path = `${mounted.path}/f`
  await writeFile(path, 'before')
  const file = await open(path, 'r')
  const contents = async (): Promise<string> =>
    (await file.read(Buffer.alloc(100), 0, 100, 0)).buffer.toString('utf8', 0, 6)
  const mode = async (): Promise<number> => (await stat(path)).mode & 0o777
  t.is(await contents(), 'before')
  t.is(await mode(), 0o644)
  await mounted.ask('poke', 'f', 'behind', S_IFREG | 0o600)
  t.is(await contents(), 'before')
  t.is(await mode(), 0o644)

  await mounted.ask('invalidateInode', 'f', -1, 0)
  t.is(await mode(), 0o600)
  t.is(await contents(), 'before')
  await mounted.ask('invalidateInode', 'f', 0, 0)
  t.is(await contents(), 'behind')
  await file.close()
})

test('one name, and all names', async t => {
  const mounted = await mount(t)
  await writeFile(`${mounted.path}/f`, '')
  const lookups = async (): Promise<number> => {
    await stat(`${mounted.path}/f`)
    return mounted.ask<number>('calls', 'lookup')
  }
  const before = await lookups()
  t.is(await lookups(), before)
  await mounted.ask('invalidateEntry', 'f')
  t.is(await lookups(), before + 1)
  const can = await mounted.ask<boolean>('canInvalidateAllNames')
  t.is(await mounted.ask<boolean>('invalidateAllNames'), can)
  t.is(await lookups(), before + (can ? 2 : 1))
})

test('where nothing can be said to the kernel the mount ends with an error', async t => {
  const mounted = await MountedMemory.start({ ttlMs: 3_600_000, dyingThreads: true })
  t.teardown(() => mounted.close())
  await writeFile(`${mounted.path}/f`, 'before')
  void mounted.ask('invalidateInode', 'f', 0, 0)
  await mounted.exited
  t.regex(mounted.said, /the mount ends.*the kernel cannot be told what to forget: a thread died/)
  t.notRegex(mounted.said, /calls/)
  t.false(readFileSync('/proc/mounts', 'utf8').includes(mounted.path))
})

test('what the kernel does not know is nothing to forget', async t => {
  const mounted = await mount(t)
  await t.notThrowsAsync(mounted.ask('invalidateInode', '', 0, 0))
  await t.notThrowsAsync(mounted.ask('invalidateEntry', 'none'))
  t.is(mounted.said, '')
})

test('a notification that the kernel holds back stops no requests, and no other notification', async t => {
  const mounted = await mount(t)
  await writeFile(`${mounted.path}/f`, 'x'.repeat(5000))
  await writeFile(`${mounted.path}/other`, 'y')
  await mounted.ask('invalidateInode', 'f', 0, 0)
  await mounted.ask('hold')
  // The page of an unanswered READ is locked, and the invalidation waits for it.
  const reading = readFile(`${mounted.path}/f`)
  while ((await mounted.ask<number>('heldCalls')) === 0) await pause(5)
  let told = false
  const telling = mounted.ask('invalidateInode', 'f', 0, 0).then(() => {
    told = true
  })
  await truncate(`${mounted.path}/other`, 0)
  t.is((await stat(`${mounted.path}/other`)).size, 0)
  for (let round = 0; round < 3; round++) await mounted.ask('invalidateInode', 'other', 0, 0)
  await pause(100)
  t.false(told)
  await mounted.ask('letGo')
  t.is((await reading).length, 5000)
  await telling
})

test('a notification that the kernel holds back does not outlive the connection', async t => {
  const mounted = await mount(t)
  await writeFile(`${mounted.path}/f`, 'x'.repeat(5000))
  await mounted.ask('invalidateInode', 'f', 0, 0)
  await mounted.ask('hold')
  const reading = t.throwsAsync(readFile(`${mounted.path}/f`))
  while ((await mounted.ask<number>('heldCalls')) === 0) await pause(5)
  void mounted.ask('invalidateInode', 'f', 0, 0)
  await pause(50)
  void mounted.ask('abort')
  await mounted.exited
  await reading
  t.regex(mounted.said, /destroyed true/)
  t.false(readFileSync('/proc/self/mountinfo', 'utf8').includes(mounted.path))
})

test('nor does it keep a killed process from dying', async t => {
  const mounted = await mount(t)
  await writeFile(`${mounted.path}/f`, 'x'.repeat(5000))
  await mounted.ask('invalidateInode', 'f', 0, 0)
  await mounted.ask('hold')
  const reading = t.throwsAsync(readFile(`${mounted.path}/f`))
  while ((await mounted.ask<number>('heldCalls')) === 0) await pause(5)
  void mounted.ask('invalidateInode', 'f', 0, 0)
  await pause(50)
  await mounted.kill('SIGKILL')
  await reading
  await pause(200)
  t.false(readFileSync('/proc/self/mountinfo', 'utf8').includes(mounted.path))
})

test('options that are not known are refused by name', async t => {
  const options = { path: '/', source: 's', clock: { now: () => 0, wall: () => 0n }, log: stderrLog }
  for (const option of ['nonsense', 'fd=4', 'allow_other,fd=4', '']) {
    await t.throwsAsync(
      FuseDriver.serve(() => new MemoryFileSystem(), { ...options, mountOptions: [option] }),
      {
        name: 'UsageError',
        message: new RegExp(`unknown mount option '${option}'`),
      },
    )
  }
})
