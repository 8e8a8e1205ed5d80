import test from 'ava'
import { FsError } from '#src/core/errors.ts'
import { type Ino, rootIno } from '#src/core/ids.ts'
import { holdPosts } from './hold-posts.ts'
import { directory, file, make, type Mount, Mounts, name, reading, root } from './mounts-fixture.ts'

const codeOf = async (work: () => unknown): Promise<string> => {
  try {
    await work()
    return 'none'
  } catch (thrown) {
    return thrown instanceof FsError ? thrown.code : String(thrown)
  }
}

/** A directory whose write lease the mount has, with files that it made in it. */
async function begin(mount: Mount, ...names: string[]): Promise<Ino> {
  const { attr } = await mount.fs.mkdir(rootIno, name('d'), directory(), root)
  await make(mount, attr.ino, 'first')
  await mount.session.call({ $case: 'barrier', value: {} }, 'done')
  for (const text of names) await mount.fs.mknod(attr.ino, name(text), file(), root)
  return attr.ino
}

async function list(mount: Mount, ino: Ino): Promise<string[]> {
  const found: string[] = []
  const { handle } = mount.fs.opendir(ino)
  await mount.fs.readdir(ino, handle, 0n, false, entry => found.push(entry.name) > 0)
  mount.fs.releasedir(ino, handle)
  return found.filter(text => !text.startsWith('.')).sort()
}

const rename = (mount: Mount, from: Ino, old: string, to: Ino, fresh: string) =>
  mount.fs.rename(from, name(old), to, name(fresh), 'replace', root)

test('files lose and change their names before the master was asked', async t => {
  await using mounts = await Mounts.start()
  const [a, b] = [await mounts.mount(), await mounts.mount()]
  const parent = await begin(a, 'f', 'g', 'h')
  await a.files.flushAll()
  const { ino } = (await a.fs.getattr((await a.fs.lookup(parent, name('f'))).attr?.ino ?? rootIno)).attr
  const before = (await a.fs.getattr(ino)).attr
  a.calls.length = 0
  const { posted, letGo } = holdPosts(a)
  await rename(a, parent, 'f', parent, 'new')
  await rename(a, parent, 'g', parent, 'new2')
  await rename(a, parent, 'new', parent, 'new2')
  await a.fs.unlink(parent, name('h'))
  t.deepEqual(posted, ['rename', 'rename', 'rename', 'unlink'])
  t.deepEqual(a.calls, [])
  const moved = (await a.fs.lookup(parent, name('new2'))).attr
  t.is(moved?.ino, ino)
  t.true(moved !== undefined && moved.ctime > before.ctime && moved.mtime === before.mtime)
  for (const gone of ['f', 'g', 'h', 'new']) t.is((await a.fs.lookup(parent, name(gone))).attr, undefined)
  const shown = (await a.fs.getattr(parent)).attr
  t.true(shown.mtime === shown.ctime && shown.ctime > before.ctime)
  letGo()
  await a.files.flushAll()
  t.deepEqual(await list(b, parent), ['first', 'new2'])
  t.deepEqual((await b.fs.lookup(parent, name('new2'))).attr, moved)
  t.deepEqual((await b.fs.getattr(parent)).attr, shown)
})

test('another mount that looks finds each change', async t => {
  await using mounts = await Mounts.start()
  const [a, b] = [await mounts.mount(), await mounts.mount()]
  const parent = await begin(a)
  const other = (await a.fs.mkdir(rootIno, name('e'), directory(), root)).attr.ino
  for (let n = 0; n < 20; n++) {
    await make(a, parent, 'f')
    await rename(a, parent, 'f', other, `n${n}`)
    if (n % 2 === 0) await a.fs.unlink(other, name(`n${n}`))
    const seen = (await b.fs.lookup(other, name(`n${n}`))).attr
    t.is(seen === undefined, n % 2 === 0)
    t.is((await b.fs.lookup(parent, name('f'))).attr, undefined)
  }
})

test('what another mount has, or may have, is not removed before it was asked', async t => {
  await using mounts = await Mounts.start()
  const [a, b] = [await mounts.mount(), await mounts.mount()]
  const parent = await begin(a, 'f', 'g')
  const { ino } = (await b.fs.lookup(parent, name('f'))).attr ?? { ino: rootIno }
  const { handle } = await b.fs.open(ino, reading, root)
  // It has the directory for itself again.
  await make(a, parent, 'again')
  await a.fs.unlink(parent, name('again'))
  const { posted, letGo } = holdPosts(a)
  await a.fs.unlink(parent, name('f'))
  await rename(a, parent, 'g', parent, 'k')
  // Removed by then, and nothing to this mount.
  t.deepEqual(posted, ['closeOrphan'])
  letGo()
  t.is((await b.fs.getattr(ino)).attr.nlink, 0)
  b.fs.release(ino, handle, undefined)
})

test('a mount that is alone promises for files that it did not make, until there is another one', async t => {
  await using mounts = await Mounts.start()
  const maker = await mounts.mount()
  const parent = await begin(maker, 'f', 'g', 'h', 'i', 'j')
  await maker.files.close()
  const a = await mounts.mount()
  await list(a, parent)
  for (const text of ['f', 'g', 'h', 'i', 'j']) await a.fs.lookup(parent, name(text))
  await a.fs.unlink(parent, name('f'))
  a.calls.length = 0
  const { posted, letGo } = holdPosts(a)
  await a.fs.unlink(parent, name('g'))
  await rename(a, parent, 'h', parent, 'k')
  t.deepEqual(posted, ['unlink', 'rename'])
  letGo()
  const b = await mounts.mount()
  t.deepEqual(await list(b, parent), ['first', 'i', 'j', 'k'])
  await b.fs.lookup(parent, name('i'))
  const later = holdPosts(a)
  await a.fs.unlink(parent, name('i'))
  await a.fs.unlink(parent, name('j'))
  t.deepEqual(later.posted, [])
  later.letGo()
  t.deepEqual(await list(b, parent), ['first', 'k'])
})

test('a file with several names, and a directory that is not empty or gets another name, are left to the master', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const parent = await begin(a, 'f')
  const { ino } = (await a.fs.lookup(parent, name('f'))).attr ?? { ino: rootIno }
  await a.fs.link(ino, parent, name('g'))
  const sub = (await a.fs.mkdir(parent, name('sub'), directory(), root)).attr.ino
  await a.fs.mknod(sub, name('in'), file(), root)
  const { posted, letGo } = holdPosts(a)
  await a.fs.unlink(parent, name('g'))
  await rename(a, parent, 'f', parent, 'k')
  await rename(a, parent, 'sub', parent, 'down')
  t.is(await codeOf(() => a.fs.unlink(parent, name('down'))), 'EISDIR')
  t.is(await codeOf(() => a.fs.rmdir(parent, name('down'))), 'ENOTEMPTY')
  t.is(await codeOf(() => a.fs.rmdir(parent, name('k'))), 'ENOTDIR')
  t.deepEqual(posted, [])
  letGo()
  t.deepEqual(await list(a, parent), ['down', 'first', 'k'])
})

test('a directory that is empty goes before the master was asked, and its parent has a link less', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const parent = await begin(a)
  for (const text of ['one', 'two', 'three']) await a.fs.mkdir(parent, name(text), directory(), root)
  const links = async (): Promise<number> => (await a.fs.getattr(parent)).attr.nlink
  t.is(await links(), 5)
  const open = a.fs.opendir((await a.fs.lookup(parent, name('two'))).attr?.ino ?? rootIno)
  const { posted, letGo } = holdPosts(a)
  await a.fs.rmdir(parent, name('one'))
  t.is(await links(), 4)
  await a.fs.rmdir(parent, name('two'))
  t.deepEqual(posted, ['unlink', 'unlink'])
  t.is(await links(), 3)
  t.is((await a.fs.lookup(parent, name('one'))).attr, undefined)
  letGo()
  await a.files.flushAll()
  t.is(await links(), 3)
  t.deepEqual(await list(a, parent), ['first', 'three'])
  a.fs.releasedir(rootIno, open.handle)
  const b = await mounts.mount()
  t.deepEqual(await list(b, parent), ['first', 'three'])
  t.is((await b.fs.getattr(parent)).attr.nlink, 3)
})

test('a removed directory that somebody is in has no links, whatever is answered later', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const parent = await begin(a)
  const { ino } = (await a.fs.mkdir(parent, name('in'), directory(), root)).attr
  const { handle } = a.fs.opendir(ino)
  await a.fs.mknod(ino, name('f'), file(), root)
  await a.fs.unlink(ino, name('f'))
  await a.fs.rmdir(parent, name('in'))
  t.is((await a.fs.getattr(ino)).attr.nlink, 0)
  await a.files.flushAll()
  t.is((await a.fs.getattr(ino)).attr.nlink, 0)
  a.fs.releasedir(ino, handle)
})

test('answers that come together leave a directory with the links that it has', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const parent = await begin(a)
  for (const text of ['one', 'two']) await a.fs.mkdir(parent, name(text), directory(), root)
  const { nlink } = (await a.fs.getattr(parent)).attr
  // The removals are promised; what is asked after them is sent, and answered, with them.
  const removed = ['one', 'two'].map(text => a.fs.rmdir(parent, name(text)))
  const asked = [
    a.fs.mkdir(parent, name('four'), directory(), root),
    a.fs.mkdir(parent, name('five'), directory(), root),
  ]
  await Promise.all([...removed, ...asked])
  await a.files.flushAll()
  t.is((await a.fs.getattr(parent)).attr.nlink, nlink)
  const b = await mounts.mount()
  t.is((await b.fs.getattr(parent)).attr.nlink, nlink)
})

test('who removes names has the directories that it lists next to itself, if nobody else has them', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const made: Ino[] = []
  for (let n = 0; n < 3; n++) {
    const { attr } = await a.fs.mkdir(rootIno, name(`d${n}`), directory(), root)
    for (const text of ['f', 'g']) await a.fs.mknod(attr.ino, name(text), file(), root)
    made.push(attr.ino)
  }
  await a.files.close()
  const [first, second, third] = made
  if (first === undefined || second === undefined || third === undefined) return t.fail()
  const b = await mounts.mount()
  const leaseOf = (ino: Ino) => b.files.cache.get(ino)?.lease
  for (let n = 0; n < 3; n++) await b.fs.lookup(rootIno, name(`d${n}`))
  const plus = async (ino: Ino) => {
    const { handle } = b.fs.opendir(ino)
    await b.fs.readdir(ino, handle, 0n, true, () => true)
    b.fs.releasedir(ino, handle)
  }
  await plus(first)
  t.is(leaseOf(first), 'read')
  await b.fs.unlink(first, name('f'))
  await plus(second)
  t.is(leaseOf(second), 'write')
  const { posted, letGo } = holdPosts(b)
  await b.fs.unlink(second, name('f'))
  t.deepEqual(posted, ['unlink'])
  letGo()
  const c = await mounts.mount()
  await list(c, third)
  await b.fs.unlink(first, name('g'))
  await plus(third)
  t.is(leaseOf(third), 'read')
})

test('an open file lives on without its name', async t => {
  await using mounts = await Mounts.start()
  const [a, b] = [await mounts.mount(), await mounts.mount()]
  const parent = await begin(a)
  const { ino, handle } = await make(a, parent, 'f', 'text')
  const { posted, letGo } = holdPosts(a)
  await a.fs.unlink(parent, name('f'))
  t.deepEqual(posted, ['unlink'])
  t.is((await a.fs.getattr(ino)).attr.nlink, 0)
  letGo()
  t.is((await b.fs.lookup(parent, name('f'))).attr, undefined)
  await a.fs.fsync(ino, handle)
  t.is((await a.fs.getattr(ino)).attr.nlink, 0)
  t.is((await a.fs.getattr(ino)).attr.size, 4)
  a.fs.release(ino, handle, undefined)
})

test('fsync of any file waits for all that was promised, and so does fsync of the directory', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const parent = await begin(a, 'f', 'g')
  const { ino, handle } = await make(a, parent, 'other', 'text')
  await a.fs.fsync(ino, handle)
  for (const sync of [() => a.fs.fsync(ino, handle), () => a.fs.fsyncdir(parent)]) {
    const { letGo } = holdPosts(a)
    await rename(a, parent, 'f', parent, 'moved')
    await rename(a, parent, 'moved', parent, 'f')
    let synced = false
    const syncing = Promise.resolve(sync()).then(() => {
      synced = true
    })
    await new Promise(resolve => setTimeout(resolve, 20))
    t.false(synced)
    letGo()
    await syncing
  }
  a.fs.release(ino, handle, undefined)
})

test('what the master will not do is told to fsync of the directory, and names are as they are', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const parent = await begin(a, 'f', 'g')
  await a.fs.mkdir(parent, name('sub'), directory(), root)
  await a.files.flushAll()
  const { nlink } = (await a.fs.getattr(parent)).attr
  const post = a.session.post.bind(a.session)
  a.session.post = async () => {
    await new Promise(resolve => setImmediate(resolve))
    throw new FsError('EIO', 'planted')
  }
  await a.fs.unlink(parent, name('f'))
  await rename(a, parent, 'g', parent, 'k')
  await a.fs.rmdir(parent, name('sub'))
  a.session.post = post
  t.is(await codeOf(() => a.fs.fsyncdir(parent)), 'EIO')
  t.is(await codeOf(() => a.fs.fsyncdir(parent)), 'none')
  t.true(a.forgotten.includes('names'))
  t.is((await a.fs.lookup(parent, name('f'))).attr?.nlink, 1)
  t.truthy((await a.fs.lookup(parent, name('g'))).attr)
  t.is((await a.fs.lookup(parent, name('k'))).attr, undefined)
  t.truthy((await a.fs.lookup(parent, name('sub'))).attr)
  t.is((await a.fs.getattr(parent)).attr.nlink, nlink)
  await a.fs.rmdir(parent, name('sub'))
  t.is((await a.fs.getattr(parent)).attr.nlink, nlink - 1)
  await a.fs.unlink(parent, name('f'))
  await rename(a, parent, 'g', parent, 'k')
  t.deepEqual(await list(a, parent), ['first', 'k'])
})

test('a file whose rename was refused is not taken for the one that was to have its name after it', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const parent = await begin(a, 'f', 'old')
  await a.files.flushAll()
  const before = [
    (await a.fs.lookup(parent, name('f'))).attr?.ino,
    (await a.fs.lookup(parent, name('old'))).attr?.ino,
  ]
  const post = a.session.post.bind(a.session)
  const refused = async (): Promise<never> => {
    await new Promise(resolve => setImmediate(resolve))
    throw new FsError('ENOSPC', 'planted')
  }
  // The master has no room for two changes, and then there is some.
  a.session.post = refused
  await rename(a, parent, 'f', parent, 'g')
  await make(a, parent, 'f')
  a.session.post = post
  await rename(a, parent, 'f', parent, 'old')
  t.is(await codeOf(() => a.fs.fsyncdir(parent)), 'ENOSPC')
  t.deepEqual(
    [(await a.fs.lookup(parent, name('f'))).attr?.ino, (await a.fs.lookup(parent, name('old'))).attr?.ino],
    before,
  )
})
