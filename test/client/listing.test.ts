import test from 'ava'
import { S_IFREG } from '#src/core/attr.ts'
import { type Ino, ino, rootIno } from '#src/core/ids.ts'
import { Listing } from '#src/client/cache/listing.ts'
import { directory, make, type Mount, Mounts, name, root } from './mounts-fixture.ts'

const entry = (text: string, cookie: number) => ({
  name: name(text),
  ino: ino(BigInt(cookie)),
  type: S_IFREG,
  cookie: BigInt(cookie),
})

async function list(mount: Mount, directoryIno: Ino): Promise<string[]> {
  const { handle } = mount.fs.opendir(directoryIno)
  const names: string[] = []
  for (let cookie = 0n, more = true; more; ) {
    more = false
    await mount.fs.readdir(directoryIno, handle, cookie, true, ({ name: found, cookie: next }) => {
      cookie = next
      more = true
      names.push(found)
      return true
    })
  }
  mount.fs.releasedir(directoryIno, handle)
  return names
}

const asked = (mount: Mount): number =>
  mount.calls.filter(call => call === 'readDir' || call === 'readTree').length

test('names come to the end and go from anywhere; what was given does not change', t => {
  const listing = new Listing([entry('a', 3), entry('b', 5)], rootIno)
  const given = listing.entries
  t.true(listing.add(entry('c', 9)))
  t.false(listing.add(entry('d', 9)))
  t.false(listing.add(entry('e', 4)))
  t.true(listing.remove(name('a')))
  t.false(listing.remove(name('a')))
  t.true(listing.add(entry('a', 12)))
  t.deepEqual(
    given.map(one => one.name),
    ['a', 'b'],
  )
  t.deepEqual(
    listing.entries.map(one => one.name),
    ['b', 'c', 'a'],
  )
  for (const text of ['a', 'c', 'b']) t.true(listing.remove(name(text)))
  t.is(listing.length, 0)
})

test('who made a directory and what is in it lists it without a question, as the master would', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const { attr } = await a.fs.mkdir(rootIno, name('d'), directory(), root)
  for (const text of ['f', 'g', 'h', 'i']) {
    const { ino: one, handle } = await make(a, attr.ino, text, 'content')
    a.fs.release(one, handle, undefined)
  }
  await a.fs.mkdir(attr.ino, name('sub'), directory(), root)
  await a.fs.symlink(attr.ino, name('link'), name('f'), root)
  await a.fs.unlink(attr.ino, name('g'))
  await a.files.flushAll()
  const before = asked(a)
  const known = await list(a, attr.ino)
  t.is(asked(a), before)
  const b = await mounts.mount()
  t.deepEqual(await list(b, attr.ino), known)
  t.deepEqual([...known].sort(), ['.', '..', 'f', 'h', 'i', 'link', 'sub'])

  // What another mount makes, and what is renamed, is there, too.
  await b.fs.mkdir(attr.ino, name('other'), directory(), root)
  await a.fs.rename(attr.ino, name('h'), attr.ino, name('z'), 'replace', root)
  t.deepEqual((await list(a, attr.ino)).sort(), ['.', '..', 'f', 'i', 'link', 'other', 'sub', 'z'])
})

test('names that the master has yet to make are in the list, and those that are gone again are not', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const { attr } = await a.fs.mkdir(rootIno, name('d'), directory(), root)
  for (let n = 0; n < 30; n++) {
    const { ino: one, handle } = await make(a, attr.ino, `f${n}`, '')
    a.fs.release(one, handle, undefined)
    if (n % 3 === 0) await a.fs.unlink(attr.ino, name(`f${n}`))
    if (n % 7 === 0) t.is((await list(a, attr.ino)).length, 2 + n + 1 - Math.ceil((n + 1) / 3))
  }
  await a.files.flushAll()
  const known = await list(a, attr.ino)
  t.is(known.length, 22)
  const b = await mounts.mount()
  t.deepEqual(await list(b, attr.ino), known)
})
