import test from 'ava'
import { FsError } from '#src/core/errors.ts'
import { rootIno } from '#src/core/ids.ts'
import { fileBytesMax } from '#src/core/limits.ts'
import {
  content,
  contentOf,
  directory,
  file,
  make,
  Mounts,
  name,
  plainWrite,
  reading,
  root,
  writing,
} from './mounts-fixture.ts'

const code = async (work: Promise<unknown> | (() => unknown)): Promise<string> => {
  try {
    await (typeof work === 'function' ? work() : work)
    return 'ok'
  } catch (thrown) {
    return thrown instanceof FsError ? thrown.code : String(thrown)
  }
}

test('what a lease covers is answered without the master', async t => {
  await using mounts = await Mounts.start()
  const mount = await mounts.mount()
  const { fs, calls } = mount
  const { ino, handle } = await make(mount, rootIno, 'a')
  fs.release(ino, handle, undefined)
  await fs.symlink(rootIno, name('s'), name('target'), root)
  const link = await fs.lookup(rootIno, name('s'))
  t.is(await fs.getxattr(ino, name('user.none')), undefined)
  t.is((await fs.lookup(rootIno, name('none'))).attr, undefined)
  if (link.attr !== undefined) await fs.readlink(link.attr.ino)
  await fs.listxattr(ino, root)
  calls.length = 0
  for (let i = 0; i < 3; i++) {
    const found = await fs.lookup(rootIno, name('a'))
    t.is(found.attr?.ino, ino)
    t.true(found.nameTtlMs > 20_000)
    t.true((await fs.getattr(ino)).attrTtlMs > 20_000)
    t.is((await fs.lookup(rootIno, name('none'))).attr, undefined)
    t.is(await fs.getxattr(ino, name('user.none')), undefined)
    t.is(await fs.getxattr(ino, name('security.capability')), undefined)
    t.deepEqual(await fs.listxattr(ino, root), [])
    if (link.attr !== undefined) t.is(await fs.readlink(link.attr.ino), name('target'))
    const again = await fs.open(ino, reading, root)
    await fs.flush(ino, again.handle, 1n)
    fs.release(ino, again.handle, undefined)
  }
  t.deepEqual(calls, [])
})

test('in a directory that was made here, or asked in vain some times, absent names are known', async t => {
  await using mounts = await Mounts.start()
  const { fs, calls } = await mounts.mount()
  const { attr } = await fs.mkdir(rootIno, name('d'), directory(), root)
  calls.length = 0
  for (let i = 0; i < 20; i++) {
    t.is((await fs.lookup(attr.ino, name(`n${i}`))).attr, undefined)
    await fs.mknod(attr.ino, name(`n${i}`), file(), root)
  }
  t.deepEqual(new Set(calls), new Set<string>(['create']))
  calls.length = 0
  // The root was not made here: it is read once, while files are made in it.
  for (let i = 0; i < 20; i++) {
    t.is((await fs.lookup(rootIno, name(`r${i}`))).attr, undefined)
    await fs.mknod(rootIno, name(`r${i}`), file(), root)
  }
  t.true(calls.filter(call => call === 'lookup').length <= 6)
  t.is(calls.filter(call => call === 'readDir').length, 1)
  for (let i = 0; i < 20; i++) t.truthy((await fs.lookup(rootIno, name(`r${i}`))).attr)
})

test('who looks at the entries of a listing one by one gets their attributes many at a time', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const names = Array.from({ length: 700 }, (_, i) => name(`n${i}`))
  const made = new Map<string, bigint>()
  for (const each of names) {
    const { attr } = await a.fs.mknod(rootIno, each, file(), root)
    made.set(each, attr.ino)
  }
  for (const order of ['listed', 'backwards'] as const) {
    const b = await mounts.mount({ cache: { inodes: 5000, names: 5000 } })
    const { handle } = b.fs.opendir(rootIno)
    const listed: string[] = []
    for (let cookie = 0n, more = true; more; ) {
      more = false
      await b.fs.readdir(rootIno, handle, cookie, false, entry => {
        listed.push(entry.name)
        cookie = entry.cookie
        more = true
        return true
      })
    }
    t.is(listed.length, names.length + 2)
    b.calls.length = 0
    for (const each of order === 'listed' ? names : [...names].reverse())
      t.is((await b.fs.lookup(rootIno, each)).attr?.ino, made.get(each) as typeof rootIno)
    t.true(b.calls.length < 40, `${order}: ${b.calls.length} calls`)
  }
})

for (const order of ['listed', 'sorted'] as const)
  test(`who reads small files as they are ${order} finds the next ones fetched`, async t => {
    await using mounts = await Mounts.start()
    const a = await mounts.mount()
    const files: { readonly ino: bigint; readonly name: string }[] = []
    for (let i = 0; i < 150; i++) {
      // The later it is made, the earlier it is sorted.
      const text = `f${999 - i}`
      const { ino, handle } = await make(a, rootIno, text, 'content')
      await a.fs.fsync(ino, handle)
      a.fs.release(ino, handle, undefined)
      files.push({ ino, name: text })
    }
    if (order === 'sorted') files.reverse()
    // Whoever wrote them may go on: without a lease nothing is fetched.
    await a.files.close()
    const b = await mounts.mount({ cache: { inodes: 5000, names: 5000 } })
    const { handle } = b.fs.opendir(rootIno)
    for (let cookie = 0n, more = true; more; ) {
      more = false
      await b.fs.readdir(rootIno, handle, cookie, false, entry => {
        cookie = entry.cookie
        more = true
        return true
      })
    }
    const read = async (i: number) => {
      const found = await b.fs.lookup(rootIno, name(files[i]?.name ?? ''))
      t.is(await contentOf(b, found.attr?.ino ?? rootIno), 'content')
    }
    // In no order, nothing is fetched.
    const before = [5, 2, 100, 50, 60]
    for (const i of before) await read(i)
    t.deepEqual(b.data.prefetched, [])
    for (let i = 0; i < 3; i++) await read(i)
    while (b.data.prefetched.length === 0) await new Promise(resolve => setTimeout(resolve, 1))
    const fetched = b.data.prefetched.map(({ ino }) => ino as bigint)
    const expected = files.filter((_, i) => i >= 3 && i < 67 && !before.includes(i)).map(({ ino }) => ino)
    // Attributes are read ahead as they are listed: not those of all that are sorted first.
    if (order === 'listed') t.deepEqual(fetched, expected)
    else t.true(fetched.length > 0 && fetched.every(ino => expected.includes(ino)))
    t.true(b.data.prefetched.every(({ size }) => size === 7))
  })

test('one entry looked at in a large directory costs one question', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  for (let i = 0; i < 300; i++) await a.fs.mknod(rootIno, name(`n${i}`), file(), root)
  const b = await mounts.mount()
  const { handle } = b.fs.opendir(rootIno)
  await b.fs.readdir(rootIno, handle, 0n, false, () => true)
  b.calls.length = 0
  t.truthy((await b.fs.lookup(rootIno, name('n7'))).attr)
  t.deepEqual(b.calls, ['lookup'])
})

test('another mount sees each change when its call has returned', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const b = await mounts.mount()
  const there = async (text: string) => (await b.fs.lookup(rootIno, name(text))).attr
  t.is(await there('f'), undefined)
  const { ino, handle } = await make(a, rootIno, 'f', 'one')
  t.is((await there('f'))?.size, 3)
  t.is(await contentOf(b, ino), 'one')
  await a.fs.write(ino, handle, 3, Buffer.from(' two'), plainWrite, root)
  t.is(await contentOf(b, ino), 'one two')
  t.is((await b.fs.getattr(ino)).attr.size, 7)
  await a.fs.setattr(ino, { mode: 0o600 }, undefined, root)
  t.is((await there('f'))?.mode, 0o100600)
  await a.fs.setattr(ino, { size: 3 }, undefined, root)
  t.is(await contentOf(b, ino), 'one')
  await a.fs.setxattr(ino, name('user.x'), Buffer.from('1'), 'set', false)
  t.is(Buffer.from((await b.fs.getxattr(ino, name('user.x'))) ?? []).toString(), '1')
  await a.fs.rename(rootIno, name('f'), rootIno, name('g'), 'replace', root)
  t.is(await there('f'), undefined)
  t.is((await there('g'))?.ino, ino)
  await a.fs.unlink(rootIno, name('g'))
  t.is(await there('g'), undefined)
})

test('before a conflicting call returns, the kernel of the holder has forgotten', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const b = await mounts.mount()
  const { ino, handle } = await make(a, rootIno, 'f', 'text')
  a.fs.release(ino, handle, undefined)
  t.is(await contentOf(b, ino), 'text')
  b.forgotten.length = 0
  await a.fs.setattr(ino, { mode: 0o600 }, undefined, root)
  t.deepEqual(b.forgotten, [`inode ${ino} with pages`])
  await b.fs.lookup(rootIno, name('f'))
  b.forgotten.length = 0
  await a.fs.mkdir(rootIno, name('d'), directory(), root)
  t.deepEqual(b.forgotten, ['names', `inode ${rootIno}`])
  t.is(b.fs.opendir(rootIno).handle > 0n, true)
})

test('a file that is removed elsewhere lives until its last handle is closed', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const b = await mounts.mount()
  const { ino, handle } = await make(a, rootIno, 'f', 'kept')
  await b.fs.lookup(rootIno, name('f'))
  await b.fs.unlink(rootIno, name('f'))
  t.is(await content(a, ino, handle), 'kept')
  await a.fs.write(ino, handle, 4, Buffer.from('!'), plainWrite, root)
  await a.fs.fsync(ino, handle)
  t.is(await content(a, ino, handle), 'kept!')
  t.is((await a.fs.getattr(ino)).attr.nlink, 0)
  a.calls.length = 0
  a.fs.release(ino, handle, undefined)
  await new Promise(resolve => setImmediate(resolve))
  t.deepEqual(a.calls, ['closeOrphan'])
})

test('a removed file that two mounts have open is one file: who closes it first stores what it wrote', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const b = await mounts.mount()
  const { ino, handle } = await make(a, rootIno, 'f', 'old')
  const found = await b.fs.lookup(rootIno, name('f'))
  t.is(found.attr?.ino, ino)
  const other = (await b.fs.open(ino, reading, root)).handle
  await b.fs.unlink(rootIno, name('f'))
  await a.fs.write(ino, handle, 3, Buffer.from('er'), plainWrite, root)
  t.is((await b.fs.getattr(ino)).attr.size, 5)
  await a.fs.write(ino, handle, 0, Buffer.from('OLD'), plainWrite, root)
  a.fs.release(ino, handle, undefined)
  t.is(await content(b, ino, other), 'OLDer')
  b.fs.release(ino, other, undefined)
})

test('a removed file that others have open is not opened any more', async t => {
  await using mounts = await Mounts.start()
  const [a, b, c] = [await mounts.mount(), await mounts.mount(), await mounts.mount()]
  const { ino, handle } = await make(a, rootIno, 'f', 'text')
  for (const { fs } of [b, c]) t.is((await fs.lookup(rootIno, name('f'))).attr?.ino, ino)
  // Here, while it is removed; and at a third mount, which looked it up before.
  const removing = b.fs.unlink(rootIno, name('f'))
  while (!b.calls.includes('unlink')) await new Promise(resolve => setImmediate(resolve))
  const opening = code(b.fs.open(ino, writing, root))
  await removing
  t.is(await opening, 'ESTALE')
  t.is(await code(c.fs.open(ino, writing, root)), 'ESTALE')
  t.is((await c.fs.getattr(ino)).attr.nlink, 0)
  t.is(await code(c.fs.open(ino, reading, root)), 'ESTALE')
  t.is(await content(a, ino, handle), 'text')
})

test('what was written to a removed file that nobody has open is not sent', async t => {
  await using mounts = await Mounts.start()
  const mount = await mounts.mount()
  const { fs, data, calls } = mount
  const { ino, handle } = await make(mount, rootIno, 'f')
  const held = data.file(ino)
  held.write(0, Buffer.from('nobody reads this'))
  held.flushSoon = () => undefined
  fs.release(ino, handle, undefined)
  calls.length = 0
  await fs.unlink(rootIno, name('f'))
  await mount.files.flushAll()
  t.deepEqual(calls, ['unlink'])
})

test('a rename stores what was written to the file first, and hears of what was lost', async t => {
  await using mounts = await Mounts.start()
  const mount = await mounts.mount()
  const { fs, data, calls } = mount
  const { ino } = await make(mount, rootIno, 'new', 'content')
  calls.length = 0
  await fs.rename(rootIno, name('new'), rootIno, name('old'), 'replace', root)
  t.deepEqual(calls, ['commit', 'lookup', 'rename'])
  data.file(ino).failure = new FsError('ENOSPC')
  data.file(ino).write(0, Buffer.from('x'))
  t.is(await code(fs.rename(rootIno, name('old'), rootIno, name('older'), 'replace', root)), 'ENOSPC')
  t.truthy((await fs.lookup(rootIno, name('old'))).attr)
  data.file(ino).failure = undefined
})

test('a synchronous write asks for no lease that is held', async t => {
  await using mounts = await Mounts.start()
  const mount = await mounts.mount()
  const { ino } = await make(mount, rootIno, 'f', 'content')
  const { handle } = await mount.fs.open(ino, { ...writing, sync: true }, root)
  mount.calls.length = 0
  await mount.fs.write(ino, handle, 0, Buffer.from('x'), plainWrite, root)
  t.deepEqual(mount.calls, ['commit'])
})

test('each handle hears of a loss once, whoever has heard of it', async t => {
  await using mounts = await Mounts.start()
  const mount = await mounts.mount()
  const { fs, data } = mount
  const { ino, handle: first } = await make(mount, rootIno, 'f', 'content')
  const { handle: second } = await fs.open(ino, reading, root)
  await fs.fsync(ino, first)
  const sync = (handle: bigint) => code(fs.fsync(ino, handle))
  data.file(ino).failure = new FsError('ENOSPC')
  data.file(ino).write(0, Buffer.from('x'))
  t.is(await code(fs.rename(rootIno, name('f'), rootIno, name('g'), 'replace', root)), 'ENOSPC')
  data.file(ino).failure = undefined
  const { handle: third } = await fs.open(ino, reading, root)
  t.deepEqual([await sync(first), await sync(first)], ['ENOSPC', 'ok'])
  t.deepEqual([await sync(second), await sync(second)], ['ENOSPC', 'ok'])
  const { handle: late } = await fs.open(ino, reading, root)
  t.deepEqual([await sync(third), await sync(late)], ['ENOSPC', 'ok'])
})

test('what cannot be stored before a lease goes is lost, and said to be; it is not stored over what others have since', async t => {
  await using mounts = await Mounts.start()
  const [here, there] = [await mounts.mount(), await mounts.mount()]
  Object.defineProperty(here.session, 'leaseMs', { value: 1000 })
  const { ino, handle } = await make(here, rootIno, 'f', 'old')
  await here.fs.fsync(ino, handle)
  await here.fs.write(ino, handle, 0, Buffer.from('lost'), plainWrite, root)
  here.data.file(ino).failure = new FsError('ENOSPC')
  t.is(await contentOf(there, ino), 'old')
  here.data.file(ino).failure = undefined
  t.is(here.data.dirtyBytes, 0)
  t.deepEqual(
    [await code(here.fs.fsync(ino, handle)), await code(here.fs.fsync(ino, handle))],
    ['ENOSPC', 'ok'],
  )
  t.is(await contentOf(here, ino), 'old')
})

test('what is stored at last before a lease goes is no loss', async t => {
  await using mounts = await Mounts.start()
  const [here, there] = [await mounts.mount(), await mounts.mount()]
  const { ino, handle } = await make(here, rootIno, 'f', 'old')
  await here.fs.write(ino, handle, 0, Buffer.from('new'), plainWrite, root)
  here.data.file(ino).failure = new FsError('ENOSPC')
  const read = contentOf(there, ino)
  await new Promise(resolve => setTimeout(resolve, 100))
  here.data.file(ino).failure = undefined
  t.is(await read, 'new')
  t.is(here.data.dirtyBytes, 0)
})

test('a truncation that did not happen takes nothing', async t => {
  await using mounts = await Mounts.start()
  const mount = await mounts.mount()
  const { ino, handle } = await make(mount, rootIno, 'f', 'content')
  const call = mount.session.call.bind(mount.session)
  for (const failure of ['ETIMEDOUT', 'EIO'] as const) {
    await mount.fs.write(ino, handle, 0, Buffer.from('written'), plainWrite, root)
    mount.session.call = (op, expect, signal) =>
      op.$case === 'setAttr' ? Promise.reject(new FsError(failure)) : call(op, expect, signal)
    t.is(await code(() => mount.fs.setattr(ino, { size: 3 }, undefined, root)), failure)
    mount.session.call = call
    // After EIO it may have happened: what was cut off is lost then.
    t.is(await code(mount.fs.fsync(ino, handle)), failure === 'EIO' ? 'EIO' : 'ok')
    t.is((await content(mount, ino, handle)).slice(0, 3), 'wri')
    if (failure === 'ETIMEDOUT') t.is(await content(mount, ino, handle), 'written')
  }
})

test('while a change is at the master, nothing that the change may make old is given out or kept', async t => {
  await using mounts = await Mounts.start()
  const [here, there] = [await mounts.mount(), await mounts.mount()]
  const { attr } = await here.fs.mkdir(rootIno, name('d'), directory(), root)
  await here.fs.mkdir(attr.ino, name('old'), directory(), root)
  // Both have a read lease now.
  await there.fs.lookup(attr.ino, name('old'))
  t.true((await here.fs.lookup(attr.ino, name('old'))).nameTtlMs > 0)
  here.forgotten.length = 0
  here.calls.length = 0
  const renaming = here.fs.rename(attr.ino, name('old'), attr.ino, name('new'), 'replace', root)
  while (!here.calls.includes('rename')) await Promise.resolve()
  here.calls.length = 0
  await here.fs.lookup(attr.ino, name('old'))
  t.deepEqual(here.calls, ['lookup'])
  await renaming
  t.true(here.forgotten.includes('names now'))
  t.true(here.forgotten.includes(`inode ${attr.ino} now`))
})

test('appends go to the end, whatever offset the kernel believes in', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const b = await mounts.mount()
  const { ino, handle } = await make(a, rootIno, 'log')
  const { handle: other } = await b.fs.open(ino, writing, root)
  const appending = { ...plainWrite, append: true }
  const writes: Promise<unknown>[] = []
  for (let i = 0; i < 20; i++) {
    writes.push(Promise.resolve(a.fs.write(ino, handle, 0, Buffer.from('aa'), appending, root)))
    writes.push(Promise.resolve(b.fs.write(ino, other, 0, Buffer.from('bbb'), appending, root)))
  }
  await Promise.all(writes)
  await a.fs.fsync(ino, handle)
  const text = await contentOf(b, ino)
  t.is(text.length, 100)
  t.regex(text, /^(?:aa|bbb)+$/)
})

test('an append that waited for room goes to the end that others have moved meanwhile', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const b = await mounts.mount()
  const { ino, handle } = await make(a, rootIno, 'log')
  const appending = { ...plainWrite, append: true }
  let makeRoom = (): void => undefined
  a.data.file(ino).room = new Promise(resolve => {
    makeRoom = resolve
  })
  const waiting = Promise.resolve(a.fs.write(ino, handle, 0, Buffer.from('aa'), appending, root))
  const { handle: other } = await b.fs.open(ino, writing, root)
  await b.fs.write(ino, other, 0, Buffer.from('bbb'), appending, root)
  makeRoom()
  t.is(await waiting, 2)
  t.is(await contentOf(b, ino), 'bbbaa')
})

test('truncation and explicit times are not undone by what was written before', async t => {
  await using mounts = await Mounts.start()
  const mount = await mounts.mount()
  const { fs } = mount
  const { ino, handle } = await make(mount, rootIno, 'f', 'some text')
  await fs.setattr(ino, { size: 4 }, handle, root)
  await fs.setattr(ino, { mtime: 5n, atime: 6n }, handle, root)
  await fs.fsync(ino, handle)
  const { attr } = await fs.getattr(ino)
  t.deepEqual([attr.size, attr.mtime, attr.atime], [4, 5n, 6n])
  t.is(await content(mount, ino, handle), 'some')
})

test('writes stop at the largest size', async t => {
  await using mounts = await Mounts.start()
  const mount = await mounts.mount()
  const { fs } = mount
  const { ino, handle } = await make(mount, rootIno, 'f')
  const bytes = Buffer.from('12345')
  t.is(await code(() => fs.write(ino, handle, fileBytesMax, bytes, plainWrite, root)), 'EFBIG')
  t.is(await code(() => fs.setattr(ino, { size: fileBytesMax + 1 }, handle, root)), 'EFBIG')
  t.is(
    await code(
      fs.fallocate(
        ino,
        handle,
        fileBytesMax - 1,
        2,
        { keepSize: false, punchHole: false, zeroRange: false },
        root,
      ),
    ),
    'EFBIG',
  )
  t.is((await fs.getattr(ino)).attr.size, 0)
})

test('a read-only mount changes nothing', async t => {
  await using mounts = await Mounts.start()
  const other = await mounts.mount()
  const { ino, handle } = await make(other, rootIno, 'f', 'text')
  await other.fs.fsync(ino, handle)
  const { fs } = await mounts.mount({ readOnly: true, atime: 'relatime' })
  t.is(await code(fs.mkdir(rootIno, name('d'), directory(), root)), 'EROFS')
  t.is(await code(fs.unlink(rootIno, name('f'))), 'EROFS')
  t.is(await code(fs.rename(rootIno, name('f'), rootIno, name('g'), 'replace', root)), 'EROFS')
  t.is(await code(() => fs.setattr(ino, { mode: 0 }, undefined, root)), 'EROFS')
  t.is(await code(fs.open(ino, writing, root)), 'EROFS')
  t.is(await code(fs.setxattr(ino, name('user.x'), Buffer.from('1'), 'set', false)), 'EROFS')
  t.is((await fs.lookup(rootIno, name('f'))).attr?.size, 4)
})

test('listings are stable, see what came after a rewind, and are kept while nothing changes', async t => {
  await using mounts = await Mounts.start()
  const { fs, calls } = await mounts.mount()
  const { attr } = await fs.mkdir(rootIno, name('d'), directory(), root)
  for (let i = 0; i < 30; i++) await fs.mknod(attr.ino, name(`f${i}`), file(), root)
  const list = async (handle: bigint, from: bigint, limit = Infinity) => {
    const found: { name: string; cookie: bigint }[] = []
    await fs.readdir(attr.ino, handle, from, false, entry => {
      if (found.length === limit) return false
      found.push({ name: entry.name, cookie: entry.cookie })
      return true
    })
    return found
  }
  const { handle } = fs.opendir(attr.ino)
  const all = await list(handle, 0n)
  t.deepEqual(
    all.slice(0, 2).map(entry => entry.name),
    ['.', '..'],
  )
  t.is(all.length, 32)
  t.deepEqual(await list(handle, all[9]?.cookie ?? 0n), all.slice(10))
  t.deepEqual(await list(handle, 1n, 3), all.slice(1, 4))
  calls.length = 0
  const second = fs.opendir(attr.ino).handle
  t.deepEqual(await list(second, 0n), all)
  t.deepEqual(calls, [])
  await fs.mknod(attr.ino, name('new'), file(), root)
  await fs.unlink(attr.ino, name('f3'))
  const rest = await list(handle, all[9]?.cookie ?? 0n)
  t.deepEqual(
    rest.slice(0, 22).map(entry => entry.name),
    all.slice(10).map(entry => entry.name),
  )
  const names = (await list(handle, 0n)).map(entry => entry.name)
  t.true(names.includes('new'))
  t.false(names.includes('f3'))
})

test('a listing with attributes names only what is certainly there', async t => {
  await using mounts = await Mounts.start()
  const { fs } = await mounts.mount()
  const { attr } = await fs.mkdir(rootIno, name('d'), directory(), root)
  for (const text of ['a', 'b', 'c']) await fs.mknod(attr.ino, name(text), file(), root)
  const { handle } = fs.opendir(attr.ino)
  const known: string[] = []
  let removed: Promise<void> | undefined
  let from = 0n
  while (known.length < 5) {
    const before = known.length
    await fs.readdir(attr.ino, handle, from, true, (entry, found) => {
      if (known.length > before) return false
      known.push(`${entry.name}${found === undefined ? '' : ' known'}`)
      from = entry.cookie
      return true
    })
    removed ??= fs.unlink(attr.ino, name('c'))
    await removed
    if (known.length === before) break
  }
  t.deepEqual(known, ['.', '..', 'a known', 'b known', 'c'])
})

test('locks end with their file, and cost nothing where there are none', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const b = await mounts.mount()
  const { ino, handle } = await make(a, rootIno, 'f')
  const { handle: other } = await b.fs.open(ino, writing, root)
  const range = { kind: 'write' as const, start: 0n, end: 99n, pid: 7 }
  a.calls.length = 0
  await a.fs.flush(ino, handle, 1n)
  t.deepEqual(a.calls, [])
  await a.fs.setlk(ino, handle, 1n, range, false, false, root)
  t.is(await code(b.fs.setlk(ino, other, 1n, range, false, false, root)), 'EAGAIN')
  t.deepEqual(await b.fs.getlk(ino, other, 1n, range), { ...range, pid: 0 })
  t.is(await b.fs.getlk(ino, other, 1n, { ...range, start: 100n, end: 200n }), undefined)
  const waiting = b.fs.setlk(ino, other, 1n, range, false, true, root)
  await a.fs.flush(ino, handle, 1n)
  await waiting
  const abort = new AbortController()
  const interrupted = a.fs.setlk(ino, handle, 1n, range, false, true, { ...root, signal: abort.signal })
  setImmediate(() => abort.abort())
  t.is(await code(interrupted), 'EINTR')
  // An open file description's lock ends with its handle.
  b.fs.release(ino, other, undefined)
  await a.fs.setlk(ino, handle, 1n, range, false, true, root)
  await a.fs.setlk(ino, handle, 9n, range, true, false, root)
  a.fs.release(ino, handle, 9n)
  t.deepEqual([...a.files.locks.all()], [])
})

test('access times are shown at once and sent later, by the rules of relatime', async t => {
  await using mounts = await Mounts.start()
  const mount = await mounts.mount({ atime: 'relatime' })
  const { fs, calls } = mount
  const { ino, handle } = await make(mount, rootIno, 'f', 'text')
  await fs.fsync(ino, handle)
  const before = (await fs.getattr(ino)).attr
  calls.length = 0
  await content(mount, ino, handle)
  const after = (await fs.getattr(ino)).attr
  t.true(after.atime > before.mtime)
  t.is(after.ctime, before.ctime)
  t.deepEqual(calls, [])
  await content(mount, ino, handle)
  t.is((await fs.getattr(ino)).attr.atime, after.atime)
  await mount.files.flushAll()
  t.deepEqual(calls, ['commit'])
  const other = await mounts.mount()
  const seen = (await other.fs.getattr(ino)).attr
  t.deepEqual([seen.atime, seen.ctime, seen.mtime], [after.atime, before.ctime, before.mtime])
})

test('the page cache is kept while the lease was, and a first read must be seen', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const b = await mounts.mount()
  const { ino, handle } = await make(a, rootIno, 'f', 'text')
  a.fs.release(ino, handle, undefined)
  t.true((await a.fs.open(ino, reading, root)).keepCache)
  t.false((await b.fs.open(ino, reading, root)).keepCache)
  t.true((await b.fs.open(ino, reading, root)).keepCache)
  const writer = await b.fs.open(ino, writing, root)
  t.false(writer.directIo)
  await b.fs.write(ino, writer.handle, 0, Buffer.from('more'), plainWrite, root)
  t.false((await a.fs.open(ino, reading, root)).keepCache)
})

test('leases that were not used lately are given back, and what is open is not', async t => {
  await using mounts = await Mounts.start()
  const mount = await mounts.mount({ cache: { inodes: 40, names: 1000 } })
  const { fs, files } = mount
  const { ino, handle } = await make(mount, rootIno, 'open', 'text')
  for (let i = 0; i < 200; i++) await fs.mknod(rootIno, name(`f${i}`), file(), root)
  for (let i = 0; i < 50; i++) await new Promise(resolve => setImmediate(resolve))
  t.true(files.cache.size <= 80, `${files.cache.size} inodes`)
  t.true(mount.forgotten.length > 100)
  t.is(await content(mount, ino, handle), 'text')
  const other = await mounts.mount()
  // Nothing is asked back that is not held any more.
  mount.forgotten.length = 0
  const { attr } = await other.fs.lookup(rootIno, name('f0'))
  if (attr !== undefined) await other.fs.setattr(attr.ino, { mode: 0o600 }, undefined, root)
  t.deepEqual(mount.forgotten, [])
  t.is((await fs.lookup(rootIno, name('f0'))).attr?.mode, 0o100600)
})

test('a broken connection is not noticed', async t => {
  await using mounts = await Mounts.start()
  const mount = await mounts.mount()
  const { fs } = mount
  const made: Promise<unknown>[] = []
  for (let i = 0; i < 50; i++) {
    made.push(fs.mkdir(rootIno, name(`d${i}`), directory(), root))
    if (i % 10 === 0) setImmediate(() => mounts.network.cut())
    await new Promise(resolve => setImmediate(resolve))
  }
  await Promise.all(made)
  const other = await mounts.mount()
  for (let i = 0; i < 50; i++) t.truthy((await other.fs.lookup(rootIno, name(`d${i}`))).attr)
})
