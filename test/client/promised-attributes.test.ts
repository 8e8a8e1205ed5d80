import test from 'ava'
import type { AttrChange } from '#src/core/attr.ts'
import { FsError } from '#src/core/errors.ts'
import { type Ino, rootIno } from '#src/core/ids.ts'
import { Dice } from '../support/random-calls.ts'
import { holdPosts } from './hold-posts.ts'
import { directory, make, type Mount, Mounts, name, plainWrite, root, writing } from './mounts-fixture.ts'

const second = 1_000_000_000n

/** A new file in a directory whose write lease the mount has, and which has told of it. */
async function begin(mount: Mount): Promise<{ parent: Ino; ino: Ino }> {
  const { attr } = await mount.fs.mkdir(rootIno, name('d'), directory(), root)
  await make(mount, attr.ino, 'first')
  await mount.session.call({ $case: 'barrier', value: {} }, 'done')
  const { ino, handle } = await make(mount, attr.ino, 'f')
  mount.fs.release(ino, handle, undefined)
  await mount.files.flushAll()
  return { parent: attr.ino, ino }
}

const change = async (mount: Mount, ino: Ino, what: AttrChange) =>
  (await mount.fs.setattr(ino, what, undefined, root)).attr

const seen = async (mount: Mount, ino: Ino) => (await mount.fs.getattr(ino)).attr

test('mode, owner and times of a file are set before the master was asked, and are as it sets them', async t => {
  await using mounts = await Mounts.start()
  const [a, b] = [await mounts.mount(), await mounts.mount()]
  const { parent, ino } = await begin(a)
  const before = await seen(a, ino)
  a.calls.length = 0
  a.forgotten.length = 0
  const { posted, letGo } = holdPosts(a)
  t.is((await change(a, ino, { mode: 0o600 })).mode, 0o100600)
  t.is((await change(a, ino, { uid: 7, killSuidgid: true })).uid, 7)
  await change(a, ino, { gid: 8 })
  await change(a, ino, { atime: 1n, mtime: -second })
  const now = await change(a, ino, { atime: 'now' })
  t.deepEqual(posted, ['setAttr', 'setAttr', 'setAttr', 'setAttr', 'setAttr'])
  t.deepEqual(a.calls, [])
  t.deepEqual(a.forgotten, [])
  const shown = await seen(a, ino)
  t.deepEqual(shown, now)
  t.like(shown, { mode: 0o100600, uid: 7, gid: 8, mtime: -second, size: before.size, btime: before.btime })
  t.true(shown.atime === shown.ctime && shown.ctime > before.ctime)
  letGo()
  await a.files.flushAll()
  t.deepEqual(await seen(a, ino), shown)
  t.deepEqual((await b.fs.lookup(parent, name('f'))).attr, shown)
})

test('another mount that looks finds each change', async t => {
  await using mounts = await Mounts.start()
  const [a, b] = [await mounts.mount(), await mounts.mount()]
  const { parent, ino } = await begin(a)
  for (let n = 0; n < 20; n++) {
    const { handle } = await a.fs.open(ino, writing, root)
    const shown = await change(a, ino, n % 2 === 0 ? { mode: n } : { mtime: BigInt(n) })
    t.deepEqual((await b.fs.lookup(parent, name('f'))).attr, shown)
    a.fs.release(ino, handle, undefined)
  }
})

test('what is told of the file between the promise and its answer does not take it back', async t => {
  await using mounts = await Mounts.start()
  const mount = await mounts.mount()
  const { parent, ino } = await begin(mount)
  const { posted, letGo } = holdPosts(mount)
  await change(mount, ino, { mode: 0o400, mtime: 5n })
  await change(mount, ino, { uid: 3 })
  // A commit that was sent before, a name that it gets, data that is written after.
  mount.files.cache.noteCommand({
    ...(await seen(mount, ino)),
    mode: 0o100644,
    uid: 0,
    size: 9,
    mtime: 4n,
    ctime: 4n,
  })
  t.like(await seen(mount, ino), { mode: 0o100400, uid: 3, mtime: 5n, size: 9 })
  await mount.fs.rename(parent, name('f'), parent, name('g'), 'replace', root)
  t.deepEqual(posted, ['setAttr', 'setAttr', 'rename'])
  const { ctime } = await seen(mount, ino)
  letGo()
  await mount.files.flushAll()
  t.like(await seen(mount, ino), { mode: 0o100400, uid: 3, mtime: 5n })
  t.true((await seen(mount, ino)).ctime >= ctime)
})

test('what is written after the times were set has times of its own', async t => {
  await using mounts = await Mounts.start()
  const mount = await mounts.mount()
  const { ino } = await begin(mount)
  const { handle } = await mount.fs.open(ino, writing, root)
  await mount.fs.write(ino, handle, 0, Buffer.from('before'), plainWrite, root)
  await change(mount, ino, { mtime: 5n })
  t.is((await seen(mount, ino)).mtime, 5n)
  await mount.files.flushAll()
  t.is((await seen(mount, ino)).mtime, 5n)
  await mount.fs.write(ino, handle, 0, Buffer.from('after'), plainWrite, root)
  t.true((await seen(mount, ino)).mtime > 5n)
  mount.fs.release(ino, handle, undefined)
})

test('the master is asked where it decides', async t => {
  await using mounts = await Mounts.start()
  const [a, b] = [await mounts.mount(), await mounts.mount()]
  const { parent, ino } = await begin(a)
  await change(a, ino, { mode: 0o4755 })
  await a.files.flushAll()
  const { posted, letGo } = holdPosts(a)
  // A new owner takes setuid; a size is data.
  t.is((await change(a, ino, { uid: 5 })).mode, 0o100755)
  t.is((await change(a, ino, { size: 0 })).size, 0)
  // Others have seen it: the lease is a read lease now.
  await b.fs.lookup(parent, name('f'))
  t.is((await change(a, ino, { mode: 0o640 })).mode, 0o100640)
  t.deepEqual(posted, [])
  letGo()
})

test('a directory has what was set and what its names changed since, whatever the master has said so far', async t => {
  await using mounts = await Mounts.start()
  const a = await mounts.mount()
  const { parent } = await begin(a)
  await a.files.flushAll()
  const dice = new Dice(20261128)
  const made: string[] = []
  let expected = await seen(a, parent)
  for (let step = 0; step < 600; step++) {
    const roll = dice.below(100)
    const before = expected
    if (roll < 25) {
      const value = dice.below(512)
      const what = dice.pick<AttrChange>([
        { mode: value },
        { uid: value },
        { mtime: BigInt(value) },
        { atime: BigInt(value) },
      ])
      const { mode = expected.mode & 0o7777, ...others } = what
      const shown = await change(a, parent, what)
      expected = { ...expected, ...others, mode: 0o040000 | mode, ctime: shown.ctime } as typeof expected
    } else if (roll < 75) {
      const isDir = roll < 60
      const text = made[dice.below(made.length + 1)]
      if (text === undefined) {
        const fresh = `${isDir ? 'd' : 'f'}${step}`
        made.push(fresh)
        if (isDir) await a.fs.mkdir(parent, name(fresh), directory(), root)
        else await a.fs.symlink(parent, name(fresh), name('somewhere'), root)
        expected = { ...expected, nlink: expected.nlink + (isDir ? 1 : 0) }
      } else {
        made.splice(made.indexOf(text), 1)
        if (text.startsWith('d')) await a.fs.rmdir(parent, name(text))
        else await a.fs.unlink(parent, name(text))
        expected = { ...expected, nlink: expected.nlink - (text.startsWith('d') ? 1 : 0) }
      }
      const { mtime, ctime } = await seen(a, parent)
      expected = { ...expected, mtime, ctime }
      t.is(mtime, ctime, `step ${step}`)
    } else if (roll < 85) a.session.hurry()
    // Some of what was posted is answered, without waiting for it.
    else if (roll < 92) await new Promise(resolve => setTimeout(resolve, dice.below(5)))
    else if (roll < 95) await a.files.flushAll()
    const found = await seen(a, parent)
    t.deepEqual(found, expected, `step ${step}, ${roll}`)
    t.true(found.ctime >= before.ctime, `step ${step}`)
  }
  await a.files.flushAll()
  t.deepEqual(await seen(a, parent), expected)
  const b = await mounts.mount()
  t.deepEqual(await seen(b, parent), expected)
})

test('what the master does not do is EIO to fsync, and the file is as the master has it', async t => {
  await using mounts = await Mounts.start()
  const mount = await mounts.mount()
  const { ino } = await begin(mount)
  const before = await seen(mount, ino)
  const { handle } = await mount.fs.open(ino, writing, root)
  const { letGo } = holdPosts(mount, new FsError('ESTALE', 'the session has ended'))
  t.is((await change(mount, ino, { mode: 0o600 })).mode, 0o100600)
  letGo()
  await t.throwsAsync(async () => mount.fs.fsync(ino, handle), { code: 'EIO' })
  t.deepEqual(await seen(mount, ino), before)
  t.deepEqual(mount.forgotten.at(-1), `inode ${ino}`)
  await mount.fs.fsync(ino, handle)
  mount.fs.release(ino, handle, undefined)
})

test('that a file has no capabilities is known after its mode and owner were set', async t => {
  await using mounts = await Mounts.start()
  const mount = await mounts.mount()
  const { ino } = await begin(mount)
  mount.calls.length = 0
  await change(mount, ino, { uid: 5 })
  await change(mount, ino, { mode: 0o600 })
  t.is(await mount.fs.getxattr(ino, name('security.capability')), undefined)
  t.deepEqual(mount.calls, ['setAttr', 'setAttr'])
  t.is(await mount.fs.getxattr(ino, name('system.posix_acl_access')), undefined)
  t.is(mount.calls.at(-1), 'getXattr')
})

test('whatever else goes on, both mounts see what was set last', async t => {
  await using mounts = await Mounts.start()
  const both = [await mounts.mount(), await mounts.mount()]
  const { parent, ino } = await begin(both[0] as Mount)
  const dice = new Dice(20261127)
  const underWay: Promise<unknown>[] = []
  let expected = await seen(both[0] as Mount, ino)
  let text = 'f'
  for (let step = 0; step < 400; step++) {
    const mount = dice.pick(both)
    const roll = dice.below(100)
    if (roll < 50) {
      const value = dice.below(512)
      const what = dice.pick<AttrChange>([
        { mode: value },
        { uid: value },
        { gid: value },
        { mtime: BigInt(value) },
        { atime: BigInt(value) },
      ])
      const { mode = expected.mode & 0o7777, ...others } = what
      const shown = await change(mount, ino, what)
      expected = { ...expected, ...others, mode: 0o100000 | mode } as typeof expected
      t.true(shown.ctime > expected.ctime, `step ${step}`)
      expected = { ...expected, ctime: shown.ctime }
    } else if (roll < 65) {
      const { handle } = await mount.fs.open(ino, writing, root)
      await mount.fs.write(ino, handle, 0, Buffer.from('x'), plainWrite, root)
      mount.fs.release(ino, handle, undefined)
      const { mtime, ctime, size, allocated } = await seen(mount, ino)
      expected = { ...expected, mtime, ctime, size, allocated }
    } else if (roll < 75) underWay.push(mount.files.flushAll())
    else if (roll < 80) {
      await mount.fs.rename(parent, name(text), parent, name(`n${step}`), 'replace', root)
      text = `n${step}`
      expected = { ...expected, ctime: (await seen(mount, ino)).ctime }
    } else {
      const found = (await mount.fs.lookup(parent, name(text))).attr
      const { mode, uid, gid, atime, mtime, size } = expected
      t.like(found, { mode, uid, gid, atime, mtime, size }, `step ${step}`)
      t.true(found !== undefined && found.ctime >= expected.ctime, `step ${step}`)
      expected = { ...expected, ctime: found?.ctime ?? 0n, allocated: found?.allocated ?? 0 }
    }
  }
  await Promise.all(underWay)
})
