import test from 'ava'
import type { Attr } from '#src/core/attr.ts'
import { FsError } from '#src/core/errors.ts'
import { type Ino, rootIno } from '#src/core/ids.ts'
import { deferred } from '#src/client/waiting.ts'
import { holdPosts } from './hold-posts.ts'
import { directory, file, make, type Mount, Mounts, name, root, writing } from './mounts-fixture.ts'

const codeOf = async (work: () => unknown): Promise<string> => {
  try {
    await work()
    return 'none'
  } catch (thrown) {
    return thrown instanceof FsError ? thrown.code : String(thrown)
  }
}

/** A directory in which files can be promised: the mount has its write lease, and numbers to give. */
async function begin(mount: Mount, mode = 0o755, gid = 0): Promise<Ino> {
  const { attr } = await mount.fs.mkdir(rootIno, name('d'), directory(mode), { ...root, gid })
  await make(mount, attr.ino, 'first')
  await mount.session.call({ $case: 'barrier', value: {} }, 'done')
  mount.calls.length = 0
  return attr.ino
}

test('a file is there before the master was asked, and is then as it was shown', async t => {
  await using mounts = await Mounts.start()
  const [a, b] = [await mounts.mount(), await mounts.mount()]
  const parent = await begin(a, 0o2775, 7)
  // The master hears nothing while this holds.
  const { promise: held, resolve: letGo } = deferred<undefined>()
  const post = a.session.post.bind(a.session)
  const posted: Promise<unknown>[] = []
  a.session.post = async (op, expect) => {
    await held
    const answer = post(op, expect)
    posted.push(answer)
    return answer
  }
  const before = (await a.fs.getattr(parent)).attr
  const { entry } = await a.fs.create(parent, name('f'), file(0o666), writing, true, {
    ...root,
    uid: 5,
    gid: 9,
  })
  t.deepEqual(a.calls, [])
  const after = (await a.fs.getattr(parent)).attr
  t.true(after.mtime > before.mtime && after.ctime === after.mtime)
  t.is((await a.fs.lookup(parent, name('f'))).attr?.ino, entry.attr.ino)
  letGo(undefined)
  await a.files.flushAll()
  t.is(posted.length, 1)
  a.session.post = post
  t.is(await codeOf(() => a.fs.mknod(parent, name('f'), file(), root)), 'EEXIST')
  const seen = (await b.fs.lookup(parent, name('f'))).attr
  t.deepEqual(seen, entry.attr)
  t.is(seen?.mode, 0o100644)
  t.deepEqual([seen?.uid, seen?.gid], [5, 7])
  t.deepEqual((await b.fs.getattr(parent)).attr, after)
})

test('directories, symlinks and other nodes are there before the master was asked, with all that is in them', async t => {
  await using mounts = await Mounts.start()
  const [a, b] = [await mounts.mount(), await mounts.mount()]
  const parent = await begin(a, 0o2775, 7)
  const { posted, letGo } = holdPosts(a)
  const who = { ...root, uid: 5, gid: 9 }
  const links = (await a.fs.getattr(parent)).attr.nlink
  const made = new Map<string, Attr>()
  const keep = (at: string, { attr }: { attr: Attr }): Ino => {
    made.set(at, attr)
    return attr.ino
  }
  const dir = keep('d', await a.fs.mkdir(parent, name('d'), directory(0o777), who))
  const deeper = keep('d/e', await a.fs.mkdir(dir, name('e'), directory(0o700), who))
  keep('d/e/f', await a.fs.mknod(deeper, name('f'), file(0o666), who))
  keep('d/e/s', await a.fs.symlink(deeper, name('s'), name('../f'), who))
  keep('p', await a.fs.mknod(parent, name('p'), { mode: 0o010666, umask: 0o022, rdev: 7 }, who))
  keep('c', await a.fs.mknod(parent, name('c'), { mode: 0o020666, umask: 0o022, rdev: 0x0103 }, who))
  t.deepEqual(a.calls, [])
  t.is(posted.length, 6)
  t.is((await a.fs.lookup(deeper, name('none'))).attr, undefined)
  t.is(await a.fs.readlink(made.get('d/e/s')?.ino ?? rootIno), name('../f'))
  t.is((await a.fs.getattr(parent)).attr.nlink, links + 1)
  for (const at of ['d', 'd/e']) made.set(at, (await a.fs.getattr(made.get(at)?.ino ?? rootIno)).attr)
  t.like(made.get('d'), { mode: 0o042755, nlink: 3, uid: 5, gid: 7, size: 4096 })
  t.like(made.get('d/e'), { mode: 0o042700, nlink: 2, gid: 7 })
  t.like(made.get('d/e/s'), { mode: 0o120777, size: 4, gid: 7 })
  t.like(made.get('p'), { mode: 0o010644, rdev: 0 })
  t.like(made.get('c'), { mode: 0o020644, rdev: 0x0103 })
  letGo()
  await a.files.flushAll()
  for (const [at, attr] of made) {
    let found: Ino = parent
    for (const part of at.split('/')) found = (await b.fs.lookup(found, name(part))).attr?.ino ?? rootIno
    t.deepEqual((await b.fs.getattr(found)).attr, attr, at)
  }
  t.is(await b.fs.readlink(made.get('d/e/s')?.ino ?? rootIno), name('../f'))
  t.is((await b.fs.getattr(parent)).attr.nlink, links + 1)
})

test('what the rules of an export may refuse is asked', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const parent = await begin(a)
  Object.defineProperty(a.session, 'rules', {
    value: { readOnly: false, judged: false, noSetuid: true, noDevices: true },
  })
  const { posted, letGo } = holdPosts(a)
  await a.fs.mknod(parent, name('b'), { mode: 0o060600, umask: 0, rdev: 0x0103 }, root)
  const { ino } = (await a.fs.mknod(parent, name('s'), file(0o4755), root)).attr
  await a.fs.mkdir(parent, name('g'), directory(0o2755), root)
  await a.fs.setattr(ino, { mode: 0o2755 }, undefined, root)
  t.deepEqual(posted, [])
  await a.fs.mkdir(parent, name('d'), directory(0o755), root)
  t.deepEqual(posted, ['create'])
  letGo()
})

test('a directory that the master will not make is gone with what is in it, and its parent is told so', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const parent = await begin(a)
  const { nlink } = (await a.fs.getattr(parent)).attr
  const { letGo } = holdPosts(a, new FsError('ENOSPC', 'planted'))
  const { attr } = await a.fs.mkdir(parent, name('d'), directory(), root)
  await a.fs.mknod(attr.ino, name('f'), file(), root)
  letGo()
  t.is(await codeOf(() => a.fs.fsyncdir(parent)), 'ENOSPC')
  t.is((await a.fs.lookup(parent, name('d'))).attr, undefined)
  t.is((await a.fs.getattr(parent)).attr.nlink, nlink)
  t.is(await codeOf(() => a.fs.fsyncdir(parent)), 'none')
})

test('when the disk of the master is full the call hears of it; what was promised before is made all the same', async t => {
  await using mounts = await Mounts.start()
  const [a, b] = [await mounts.mount(), await mounts.mount()]
  const parent = await begin(a)
  const { posted, letGo } = holdPosts(a)
  await a.fs.mkdir(parent, name('d'), directory(), root)
  await a.fs.mknod(parent, name('f'), file(), root)
  await a.fs.rename(parent, name('f'), parent, name('g'), 'replace', root)
  t.deepEqual(posted, ['create', 'create', 'rename'])
  mounts.room.full = true
  await a.session.call({ $case: 'getAttr', value: { ino: rootIno } }, 'attr')
  t.true(a.session.diskFull)
  letGo()
  t.is(await codeOf(() => a.fs.fsyncdir(parent)), 'none')
  for (const each of [
    () => a.fs.mkdir(parent, name('e'), directory(), root),
    () => a.fs.mknod(parent, name('h'), file(), root),
    () => a.fs.symlink(parent, name('s'), name('f'), root),
    () => a.fs.rename(parent, name('g'), parent, name('i'), 'replace', root),
  ])
    t.is(await codeOf(each), 'ENOSPC')
  // What makes room goes on being promised.
  a.calls.length = 0
  await a.fs.unlink(parent, name('first'))
  mounts.room.full = false
  await a.session.call({ $case: 'getAttr', value: { ino: rootIno } }, 'attr')
  await a.fs.mkdir(parent, name('e'), directory(), root)
  t.is(await codeOf(() => a.fs.fsyncdir(parent)), 'none')
  t.deepEqual(a.calls.filter(call => call !== 'getAttr' && call !== 'barrier').slice(0, 2), [
    'unlink',
    'create',
  ])
  const { handle } = b.fs.opendir(parent)
  const found: string[] = []
  await b.fs.readdir(parent, handle, 0n, false, entry => found.push(entry.name) > 0)
  t.deepEqual(found.filter(each => !each.startsWith('.')).sort(), ['d', 'e', 'g'])
})

test('files are promised in order: the last word on the directory is never older than what was shown', async t => {
  await using mounts = await Mounts.start()
  const [a, b] = [await mounts.mount(), await mounts.mount()]
  const parent = await begin(a)
  let last = 0n
  for (let n = 0; n < 300; n++) {
    await a.fs.mknod(parent, name(`n${n}`), file(), root)
    const { mtime } = (await a.fs.getattr(parent)).attr
    t.true(mtime >= last)
    last = mtime
    if (n % 50 === 0) await new Promise(resolve => setImmediate(resolve))
  }
  t.is((await b.fs.getattr(parent)).attr.mtime, last)
  const found = new Set<string>()
  const { handle } = b.fs.opendir(parent)
  await b.fs.readdir(parent, handle, 0n, false, entry => found.add(entry.name) === found)
  t.is(found.size, 303)
  t.true(a.calls.filter(call => call === 'create').length === 300)
})

test('another mount that looks finds what was promised', async t => {
  await using mounts = await Mounts.start()
  const [a, b] = [await mounts.mount(), await mounts.mount()]
  const parent = await begin(a)
  for (let n = 0; n < 20; n++) {
    const { attr } = await a.fs.mknod(parent, name(`n${n}`), file(), root)
    t.is((await b.fs.lookup(parent, name(`n${n}`))).attr?.ino, attr.ino)
    // Whoever comes second is told so.
    t.is(await codeOf(() => b.fs.mknod(parent, name(`n${n}`), file(), root)), 'EEXIST')
  }
})

test('a default ACL is obeyed from the first file on', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const parent = await begin(a)
  // user::rw-, group::---, other::---
  const acl = Buffer.from('0200000001000600ffffffff04000000ffffffff20000000ffffffff', 'hex')
  await a.fs.setxattr(parent, name('system.posix_acl_default'), acl, 'set', false)
  const { attr } = await a.fs.mknod(parent, name('f'), file(0o666), root)
  t.is(attr.mode, 0o100600)
})

test('a file that the master will not make is an error to who asks, gone from the directory, and told to fsync of that', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const parent = await begin(a)
  const post = a.session.post.bind(a.session)
  a.session.post = async () => {
    await new Promise(resolve => setImmediate(resolve))
    throw new FsError('ENOSPC', 'planted')
  }
  const { ino, handle } = await make(a, parent, 'f', 'text')
  a.session.post = post
  t.is(await codeOf(() => a.fs.fsync(ino, handle)), 'ENOSPC')
  t.is(await codeOf(() => a.fs.fsyncdir(parent)), 'ENOSPC')
  t.is(await codeOf(() => a.fs.fsyncdir(parent)), 'none')
  t.is((await a.fs.lookup(parent, name('f'))).attr, undefined)
  t.true(a.forgotten.includes('names'))
  a.fs.release(ino, handle, undefined)
})

test('an unmount waits for what was promised, and tells of what is lost', async t => {
  await using mounts = await Mounts.start()
  const [a, b] = [await mounts.mount(), await mounts.mount()]
  const parent = await begin(a)
  const post = a.session.post.bind(a.session)
  a.session.post = async (op, expect) => {
    await new Promise(resolve => setTimeout(resolve, 50))
    return post(op, expect)
  }
  await a.fs.mknod(parent, name('made'), file(), root)
  await a.files.close()
  t.truthy((await b.fs.lookup(parent, name('made'))).attr)

  const { attr } = await b.fs.mkdir(rootIno, name('e'), directory(), root)
  await make(b, attr.ino, 'first')
  await b.session.call({ $case: 'barrier', value: {} }, 'done')
  b.session.post = async () => {
    await new Promise(resolve => setImmediate(resolve))
    throw new FsError('ENOSPC', 'planted')
  }
  await b.fs.mknod(attr.ino, name('lost'), file(), root)
  t.is(await codeOf(() => b.files.close()), 'ENOSPC')
})
