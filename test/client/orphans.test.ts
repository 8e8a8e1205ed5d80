import test from 'ava'
import { FsError } from '#src/core/errors.ts'
import { rootIno } from '#src/core/ids.ts'
import { deferred } from '#src/client/waiting.ts'
import {
  contentOf,
  file,
  make,
  type Mount,
  Mounts,
  name,
  plainWrite,
  root,
  writing,
} from './mounts-fixture.ts'

const code = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (thrown: unknown) => FsError.from(thrown).code,
  )

const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await new Promise(resolve => setTimeout(resolve, 10))
}

/** A file without a name that has `text`, not stored. */
async function tmpfile({ fs }: Mount, text: string) {
  const { entry, opened } = await fs.tmpfile(rootIno, file(), writing, root)
  const { ino } = entry.attr
  const write = async (at: number, more: string): Promise<void> => {
    await fs.write(ino, opened.handle, at, Buffer.from(more), plainWrite, root)
  }
  await write(0, text)
  return { ino, handle: opened.handle, write }
}

/** Links are sent when they are let go. */
function holdLinks(mount: Mount): { readonly sent: Promise<undefined>; readonly letGo: () => void } {
  const [sent, held] = [deferred<undefined>(), deferred<undefined>()]
  const call = mount.session.call.bind(mount.session)
  mount.session.call = async (op, expect, signal) => {
    if (op.$case !== 'link') return await call(op, expect, signal)
    sent.resolve(undefined)
    const answer = await call(op, expect, signal)
    await held.promise
    return answer
  }
  return { sent: sent.promise, letGo: () => held.resolve(undefined) }
}

test('a file without a name that gets one while it is closed keeps what was written to it', async t => {
  await using mounts = await Mounts.start()
  const mount = await mounts.mount()
  const other = await mounts.mount()
  const { ino, handle, write } = await tmpfile(mount, 'before ')
  const { sent, letGo } = holdLinks(mount)
  const linked = mount.fs.link(ino, rootIno, name('f'))
  await sent
  await write(7, 'after')
  mount.fs.release(ino, handle, undefined)
  letGo()
  await linked
  t.is(await contentOf(other, ino), 'before after')
  t.is((await other.fs.lookup(rootIno, name('f'))).attr?.nlink, 1)
  t.false(mounts.store.orphans.has(ino))
})

test('a file without a name that is closed before its link is sent gets its name', async t => {
  await using mounts = await Mounts.start()
  const mount = await mounts.mount()
  const { ino, handle } = await tmpfile(mount, 'text')
  const linked = mount.fs.link(ino, rootIno, name('f'))
  mount.fs.release(ino, handle, undefined)
  await linked
  t.is(await contentOf(await mounts.mount(), ino), 'text')
})

test('a file without a name is given up when it is closed while its link fails', async t => {
  await using mounts = await Mounts.start()
  const mount = await mounts.mount()
  await make(mount, rootIno, 'f')
  const { ino, handle } = await tmpfile(mount, 'text')
  const linked = mount.fs.link(ino, rootIno, name('f'))
  mount.fs.release(ino, handle, undefined)
  t.is(await code(Promise.resolve(linked)), 'EEXIST')
  await mount.files.flushAll()
  await new Promise(resolve => setTimeout(resolve, 100))
  t.false(mounts.store.orphans.has(ino))
  t.is(mounts.store.inodes.find(ino), undefined)
  t.is(mount.data.dirtyBytes, 0)
})

test('a removed file that is closed while the master is away is given up when it is back', async t => {
  await using mounts = await Mounts.start()
  const mount = await mounts.mount({}, 300)
  const { ino, handle } = await make(mount, rootIno, 'f', 'text')
  await mount.fs.unlink(rootIno, name('f'))
  await mount.files.flushAll()
  t.true(mounts.store.orphans.has(ino))
  mounts.network.away = true
  mounts.network.cut()
  await until(() => !mount.session.isAttached)
  mount.fs.release(ino, handle, undefined)
  // Calls are given up by then.
  t.is(await code(Promise.resolve(mount.fs.statfs())), 'ETIMEDOUT')
  await new Promise(resolve => setTimeout(resolve, 1000))
  mounts.network.away = false
  await until(() => mount.session.isAttached)
  await mount.fs.statfs()
  await new Promise(resolve => setTimeout(resolve, 200))
  t.false(mounts.store.orphans.has(ino))
  t.is(mount.data.dirtyBytes, 0)
})
