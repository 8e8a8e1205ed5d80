import test from 'ava'
import { type Ino, rootIno } from '#src/core/ids.ts'
import { contentOf, directory, make, type Mount, Mounts, name, root } from './mounts-fixture.ts'

const count = 30

interface Tree {
  readonly mounts: Mounts
  /** Directories in the order in which they were made, each with three files and a directory. */
  readonly directories: { readonly ino: Ino; readonly below: Ino; readonly files: readonly Ino[] }[]
}

async function tree(): Promise<Tree> {
  const mounts = await Mounts.start()
  const a = await mounts.mount()
  const directories: Tree['directories'] = []
  const made = async (parent: Ino, text: string): Promise<Ino> => {
    return (await a.fs.mkdir(parent, name(text), directory(), root)).attr.ino
  }
  for (let n = 0; n < count; n++) {
    const ino = await made(rootIno, `d${n}`)
    const files: Ino[] = []
    for (let i = 0; i < 3; i++) {
      const { ino: one, handle } = await make(a, ino, `f${i}`, 'content')
      await a.fs.fsync(one, handle)
      a.fs.release(one, handle, undefined)
      files.push(one)
    }
    directories.push({ ino, below: await made(ino, 'below'), files })
  }
  // Whoever made it may go on: without a lease nothing is kept.
  await a.files.close()
  return { mounts, directories }
}

async function list(mount: Mount, ino: Ino): Promise<void> {
  const { handle } = mount.fs.opendir(ino)
  for (let cookie = 0n, more = true; more; ) {
    more = false
    await mount.fs.readdir(ino, handle, cookie, true, entry => {
      cookie = entry.cookie
      more = true
      return true
    })
  }
  mount.fs.releasedir(ino, handle)
}

const isKept = (mount: Mount, ino: Ino): boolean => mount.files.cache.get(ino)?.listing !== undefined
const asked = (mount: Mount): number =>
  mount.calls.filter(call => call === 'readDir' || call === 'readTree').length

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise(resolve => setTimeout(resolve, 1))
}

test('who walks through a tree finds directories read ahead, many with one question', async t => {
  const { mounts, directories } = await tree()
  await using _ = mounts
  const b = await mounts.mount()
  await list(b, rootIno)
  const [first, second] = directories
  if (first === undefined || second === undefined) return t.fail()
  await list(b, first.ino)
  t.false(
    directories.slice(1).some(({ ino }) => isKept(b, ino)),
    'one directory is no walk',
  )
  await list(b, second.ino)
  await until(() => isKept(b, second.below) && directories.slice(2, 9).every(({ ino }) => isKept(b, ino)))
  t.is(asked(b), 4, 'with what is in them')
  t.false(isKept(b, directories[20]?.ino ?? rootIno), 'no more than a window')
  for (const { ino, below } of directories) {
    await list(b, ino)
    await list(b, below)
  }
  t.true(asked(b) < 15, `${asked(b)} questions for ${2 * count} directories`)
})

test('who reads the files of each directory, too, finds those of the next ones fetched', async t => {
  const { mounts, directories } = await tree()
  await using _ = mounts
  const b = await mounts.mount()
  await list(b, rootIno)
  for (const { ino, files } of directories.slice(0, 3)) {
    await list(b, ino)
    for (const one of files) t.is(await contentOf(b, one), 'content')
  }
  await list(b, directories[3]?.ino ?? rootIno)
  const next = directories.slice(4, 8).flatMap(({ files }) => files as readonly bigint[])
  await until(() => next.every(ino => b.data.prefetched.some(one => one.ino === ino)))
  t.pass()
})

test('who removes what he finds gets write leases of known directories, many at a time, and asks once', async t => {
  const { mounts, directories } = await tree()
  await using _ = mounts
  const b = await mounts.mount()
  await list(b, rootIno)
  for (const { ino, below } of directories) for (const one of [ino, below]) await list(b, one)
  b.calls.length = 0
  await list(b, rootIno)
  const lease = (ino: Ino | undefined) => b.files.cache.get(ino ?? rootIno)?.lease
  for (const { ino, below } of directories) {
    await list(b, ino)
    for (const text of ['f0', 'f1', 'f2']) await b.fs.unlink(ino, name(text))
    await list(b, below)
    await b.fs.rmdir(ino, name('below'))
    await new Promise(resolve => setImmediate(resolve))
  }
  t.is(lease(directories.at(-1)?.ino), 'write')
  const trees = b.calls.filter(call => call === 'readTree').length
  t.true(trees > 0 && trees < 15, `${trees} questions for ${2 * count} directories`)
  t.is(b.calls.filter(call => call === 'readDir').length, 0)
})

test('what is read ahead is not kept when another mount changes it', async t => {
  const { mounts, directories } = await tree()
  await using _ = mounts
  const b = await mounts.mount()
  const c = await mounts.mount()
  await list(b, rootIno)
  for (const { ino } of directories.slice(0, 2)) await list(b, ino)
  const ino = directories[5]?.ino ?? rootIno
  await until(() => isKept(b, ino))
  await c.fs.mkdir(ino, name('new'), directory(), root)
  t.false(isKept(b, ino))
  const found: string[] = []
  const { handle } = b.fs.opendir(ino)
  await b.fs.readdir(ino, handle, 0n, true, entry => {
    found.push(entry.name)
    return true
  })
  t.true(found.includes(name('new')))
})

test('of a long directory the next part is on its way while one is passed on, and each is asked for once', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const ino = (await a.fs.mkdir(rootIno, name('long'), directory(), root)).attr.ino
  const expected: string[] = []
  for (let n = 0; n < 2500; n++) {
    expected.push(`f${n}`)
    await a.fs.mknod(ino, name(`f${n}`), { mode: 0o100644, umask: 0, rdev: 0 }, root)
  }
  await a.files.close()
  const b = await mounts.mount()
  const c = await mounts.mount()
  const { handle } = b.fs.opendir(ino)
  const found: string[] = []
  let last = 0n
  const read = async (most: number): Promise<void> => {
    let count = 0
    await b.fs.readdir(ino, handle, last, true, entry => {
      if (count++ === most) return false
      found.push(entry.name)
      last = entry.cookie
      return true
    })
  }
  await read(500)
  await until(() => asked(b) === 2)
  // What goes meanwhile may be listed or not; what stays is.
  await c.fs.unlink(ino, name('f1500'))
  t.is((await b.fs.lookup(ino, name('f1500'))).attr, undefined)
  for (let before = -1; before < found.length; ) {
    before = found.length
    await read(500)
  }
  t.is(asked(b), 3)
  const listed = found.filter(text => !text.startsWith('.') && text !== 'f1500')
  t.deepEqual(listed.sort(), expected.filter(text => text !== 'f1500').sort())
  t.is((await b.fs.lookup(ino, name('f1500'))).attr, undefined)
  b.fs.releasedir(ino, handle)
})
