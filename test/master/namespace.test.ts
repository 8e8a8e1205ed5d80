import test from 'ava'
import { S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG } from '#src/core/attr.ts'
import { linksMax } from '#src/core/limits.ts'
import { fsck } from '#src/master/fsck/fsck.ts'
import { stepOrphansOf } from '#src/master/namespace/lifetime.ts'
import { ino as toIno, type SessionId } from '#src/core/ids.ts'
import { RenameMode } from '#src/wire/gen/cairn/v1/session.ts'
import { blockId, bytes, Fixture } from './store-fixture.ts'

test('each type of inode begins as stat shows it on ext4', t => {
  using f = new Fixture()
  const file = f.create(f.root, 'f', S_IFREG | 0o4666, { umask: 0o022, uid: 5, gid: 6 })
  t.like(file.attr, { mode: S_IFREG | 0o4644, nlink: 1, uid: 5, gid: 6, size: 0n, mtime: 1_000_000n })
  t.like(file.parent, { nlink: 2, mtime: 1_000_000n, ctime: 1_000_000n, atime: 1_000n })
  const dir = f.create(f.root, 'd', S_IFDIR | 0o777, { umask: 0o027 })
  t.like(dir.attr, { mode: S_IFDIR | 0o750, nlink: 2, size: 4096n })
  t.is(dir.parent.nlink, 3)
  const target = bytes('/somewhere/\u00e9')
  const symlink = f.create(f.root, 's', S_IFLNK | 0o777, { umask: 0o077, target })
  t.like(symlink.attr, { mode: S_IFLNK | 0o777, size: BigInt(target.length) })
  t.deepEqual(f.ask({ $case: 'readLink', value: { ino: symlink.attr.ino } }), {
    $case: 'readLink',
    value: { target },
  })
  t.is(f.create(f.root, 'c', S_IFCHR | 0o600, { rdev: 0x103 }).attr.rdev, 0x103)
  t.is(f.create(f.root, 'p', S_IFIFO | 0o600, { rdev: 0x103 }).attr.rdev, 0)
  t.deepEqual(fsck(f.store).problems, [])
})

test('creating refuses what ext4 refuses', t => {
  using f = new Fixture()
  const file = f.create(f.root, 'f', S_IFREG).attr.ino
  const dir = f.create(f.root, 'd', S_IFDIR).attr.ino
  t.is(f.fails(f.createOp(f.root, 'f', S_IFREG)), 'EEXIST')
  t.is(f.fails(f.createOp(f.root, 'd', S_IFREG, { exclusive: false })), 'EISDIR')
  t.is(f.create(f.root, 'f', S_IFREG | 0o777, { exclusive: false }).attr.ino, file)
  t.is(f.fails(f.createOp(f.root, 'f', S_IFDIR, { exclusive: false })), 'EEXIST')
  t.is(f.fails(f.createOp(file, 'x', S_IFREG)), 'ENOTDIR')
  t.is(f.fails(f.createOp(99n, 'x', S_IFREG)), 'ENOENT')
  t.is(f.fails(f.createOp(f.root, 'x'.repeat(256), S_IFREG)), 'ENAMETOOLONG')
  t.is(f.create(f.root, 'x'.repeat(255), S_IFREG).attr.nlink, 1)
  for (const name of ['.', '..', 'a/b', 'a\0b']) t.is(f.fails(f.createOp(f.root, name, S_IFREG)), 'EINVAL')
  t.is(f.fails(f.createOp(f.root, '', S_IFREG)), 'ENOENT')
  t.is(f.fails(f.createOp(f.root, 'x', 0o644)), 'EINVAL')
  t.is(f.fails(f.createOp(f.root, 's', S_IFLNK, { target: bytes('x'.repeat(4096)) })), 'ENAMETOOLONG')
  t.is(f.create(f.root, 's', S_IFLNK, { target: bytes('x'.repeat(4095)) }).attr.size, 4095n)
  f.unlink(f.root, 'd', { directory: true, open: true })
  t.is(f.fails(f.createOp(dir, 'x', S_IFREG)), 'ENOENT')
  t.is(f.fails(f.linkOp(file, dir, 'x')), 'ENOENT')
  t.is(f.fails(f.renameOp([f.root, 'f'], [dir, 'x'])), 'ENOENT')
  t.deepEqual(f.list(dir), [])
})

test('a setgid directory gives its group, and to directories the bit', t => {
  using f = new Fixture()
  const dir = f.create(f.root, 'd', S_IFDIR | 0o2775, { gid: 42 }).attr.ino
  t.like(f.create(dir, 'f', S_IFREG | 0o644, { gid: 7 }).attr, { gid: 42, mode: S_IFREG | 0o644 })
  t.like(f.create(dir, 'e', S_IFDIR | 0o755, { gid: 7 }).attr, { gid: 42, mode: S_IFDIR | 0o2755 })
})

test('what the sender believes of a name is checked', t => {
  using f = new Fixture()
  const a = f.create(f.root, 'a', S_IFREG).attr.ino
  const b = f.create(f.root, 'b', S_IFREG).attr.ino
  t.is(f.fails(f.unlinkOp(f.root, 'a', { expected: b })), 'ESTALE')
  t.is(f.fails(f.renameOp([f.root, 'a'], [f.root, 'b'], { expectedTarget: 0n })), 'ESTALE')
  t.is(f.fails(f.renameOp([f.root, 'a'], [f.root, 'c'], { expectedTarget: b })), 'ESTALE')
  t.is(f.fails(f.renameOp([f.root, 'a'], [f.root, 'b'], { expectedTarget: a })), 'ESTALE')
  t.is(f.fails(f.renameOp([f.root, 'a'], [f.root, 'c'], { expected: b })), 'ESTALE')
  f.run(f.renameOp([f.root, 'a'], [f.root, 'c'], { expected: a }))
  f.run(f.renameOp([f.root, 'c'], [f.root, 'a'], { expected: 0n }))
  t.is(f.unlink(f.root, 'a', { expected: a }).attr.nlink, 0)
})

test('a file has at most so many names, a directory any number of subdirectories', t => {
  using f = new Fixture()
  const file = f.create(f.root, 'f', S_IFREG).attr.ino
  const dir = f.create(f.root, 'd', S_IFDIR).attr.ino
  f.store.transaction(() => {
    const inode = f.store.inodes.find(file)
    if (inode !== undefined) f.store.inodes.save(Object.assign(inode, { nlink: linksMax }))
    const parent = f.store.inodes.find(dir)
    if (parent !== undefined) f.store.inodes.save(Object.assign(parent, { nlink: linksMax }))
  })
  t.is(f.fails(f.linkOp(file, f.root, 'g')), 'EMLINK')
  t.is(f.create(dir, 'sub', S_IFDIR).parent.nlink, 1)
})

test('times: ctime never goes back, mtime is what was said last', t => {
  using f = new Fixture()
  const { ino } = f.create(f.root, 'a', S_IFREG | 0o644).attr
  f.time = 2_000_000n
  t.like(f.setAttr(ino, { mode: 0o600 }), { ctime: 2_000_000n, mtime: 1_000_000n })
  f.time = 1_500_000n
  t.is(f.setAttr(ino, { mode: 0o601 }).ctime, 2_000_001n)
  f.time = 3_000_000n
  const set = f.setAttr(ino, { mtime: { now: false, value: -5n }, atime: { now: true, value: 0n } })
  t.like(set, { mtime: -5n, atime: 3_000_000n, ctime: 3_000_000n })
  f.time = 4_000_000n
  t.like(f.setAttr(ino, { size: 0n }), { mtime: 4_000_000n, ctime: 4_000_000n, atime: 3_000_000n })
  f.time = 5_000_000n
  t.like(f.link(ino, f.root, 'b'), { attr: { ctime: 5_000_000n }, parent: { mtime: 5_000_000n } } as never)
  f.time = 6_000_000n
  t.like(f.unlink(f.root, 'b').attr, { ctime: 6_000_000n, mtime: 4_000_000n, nlink: 1 })
  f.time = 7_000_000n
  const atimeOnly = { atime: { now: false, value: 1n }, ctime: { now: false, value: 6_000_000n } }
  t.like(f.setAttr(ino, atimeOnly), { atime: 1n, ctime: 6_000_000n })
  f.time = 8_000_000n
  f.run(f.renameOp([f.root, 'a'], [f.root, 'c']))
  t.like(f.attr(ino), { ctime: 8_000_000n, mtime: 4_000_000n })
  t.like(f.attr(f.root), { ctime: 8_000_000n, mtime: 8_000_000n })
  t.is(f.fails(f.setAttrOp(ino, { mtime: { now: false, value: 2n ** 63n } })), 'EINVAL')
})

test('a change of owner clears setuid, and setgid where the group may execute; not of directories', t => {
  using f = new Fixture()
  const make = (name: string, mode: number): bigint => f.create(f.root, name, mode).attr.ino
  const bits = (ino: bigint): number => f.attr(ino).mode & 0o7777
  const ino = make('a', S_IFREG | 0o6755)
  f.setAttr(ino, { uid: 1 })
  t.is(bits(ino), 0o755)
  const marked = make('b', S_IFREG | 0o6745)
  f.setAttr(marked, { gid: 1 })
  t.is(bits(marked), 0o2745)
  const both = make('c', S_IFREG | 0o6755)
  f.setAttr(both, { uid: 1, mode: 0o4711 })
  t.is(bits(both), 0o4711)
  // chown(-1, -1)
  const neither = make('d', S_IFREG | 0o6755)
  f.setAttr(neither, {})
  t.is(bits(neither), 0o755)
  const dir = make('e', S_IFDIR | 0o6755)
  f.setAttr(dir, { uid: 1, gid: 1 })
  t.is(bits(dir), 0o6755)
  const times = make('g', S_IFREG | 0o6755)
  f.setAttr(times, { mtime: { now: true, value: 0n } })
  f.setAttr(times, { size: 5n })
  t.is(bits(times), 0o6755)
  f.setAttr(times, { size: 6n, killSuidgid: true })
  t.is(bits(times), 0o755)
  t.is(f.fails(f.setAttrOp(dir, { size: 1n })), 'EISDIR')
  t.is(f.fails(f.setAttrOp(77n, { uid: 1 })), 'ESTALE')
})

test('capabilities go with a change of owner and a truncation', t => {
  using f = new Fixture()
  const { ino } = f.create(f.root, 'a', S_IFREG | 0o755).attr
  for (const change of [{ uid: 1 }, { size: 3n }, { killSuidgid: true }]) {
    f.run(f.setXattrOp(ino, 'security.capability', bytes('cap')))
    f.setAttr(ino, { mode: 0o755 })
    t.truthy(f.getXattr(ino, 'security.capability'))
    f.setAttr(ino, change)
    t.is(f.getXattr(ino, 'security.capability'), undefined)
  }
  t.deepEqual(fsck(f.store).problems, [])
})

test('an open file outlives its last name in each session that has it open', t => {
  using f = new Fixture()
  const { ino } = f.create(f.root, 'a', S_IFREG).attr
  f.commit(ino, [{ offset: 0, length: 3, content: 'abc' }])
  f.openIn.set(ino, [2n as SessionId])
  const { attr, orphaned } = f.unlink(f.root, 'a', { open: true })
  t.deepEqual([attr.nlink, orphaned], [0, true])
  t.is(f.fails(f.linkOp(ino, f.root, 'again')), 'ENOENT')
  f.commit(ino, [{ offset: 3, length: 3, content: 'def' }])
  f.run({ $case: 'closeOrphan', value: { ino, unsent: false } })
  t.is(f.attr(ino).size, 6n)
  t.deepEqual(fsck(f.store).problems, [])
  // The other session dies.
  t.false(f.store.transaction(() => stepOrphansOf(f.store, 2n as SessionId, 10, f.time)))
  t.is(f.fails(f.setAttrOp(ino, {})), 'ESTALE')
  t.is(f.store.blocks.owner(blockId('abc'))?.refs, 0)
  t.deepEqual(fsck(f.store).problems, [])
})

test('a rename over an open file leaves it an orphan', t => {
  using f = new Fixture()
  f.create(f.root, 'a', S_IFREG)
  const old = f.create(f.root, 'b', S_IFREG).attr.ino
  const result = f.run(f.renameOp([f.root, 'a'], [f.root, 'b'], { targetOpen: true }))
  if (result.$case !== 'rename') throw new Error(result.$case)
  t.like(result.value, { orphaned: true, target: { ino: old, nlink: 0 } } as never)
  t.deepEqual(f.list(f.root), ['b'])
  f.run({ $case: 'closeOrphan', value: { ino: old, unsent: false } })
  t.is(f.store.inodes.find(old), undefined)
})

test('an O_TMPFILE can be linked once, unless made with O_EXCL', t => {
  using f = new Fixture()
  const make = (exclusive: boolean): bigint => {
    const before = f.attr(f.root).mtime
    f.time += 1n
    const { attr, parent } = f.create(f.root, '', S_IFREG | 0o600, { tmpfile: true, exclusive })
    t.is(attr.nlink, 0)
    t.is(parent.mtime, before)
    return attr.ino
  }
  const ino = make(false)
  t.is(f.link(ino, f.root, 'a').attr.nlink, 1)
  f.run({ $case: 'closeOrphan', value: { ino, unsent: false } })
  t.is(f.attr(ino).nlink, 1)
  f.unlink(f.root, 'a', { open: true })
  t.is(f.fails(f.linkOp(ino, f.root, 'a')), 'ENOENT')
  const sealed = make(true)
  t.is(f.fails(f.linkOp(sealed, f.root, 'b')), 'ENOENT')
  t.deepEqual(fsck(f.store).problems, [])
  for (const orphan of [ino, sealed]) f.run({ $case: 'closeOrphan', value: { ino: orphan, unsent: false } })
  t.is(f.store.inodes.count, 1n)
})

test('a listing shows each name that stays once, whatever else happens', t => {
  using f = new Fixture()
  for (const name of ['a', 'b', 'c', 'd', 'e']) f.create(f.root, name, S_IFREG)
  const list = (after: bigint, limit: number): { names: string[]; end: boolean; last: bigint } => {
    const answer = f.ask({
      $case: 'readDir',
      value: { ino: f.root, after, limit, attrs: true, removing: false },
    })
    if (answer.$case !== 'readDir') throw new Error(answer.$case)
    const { entries, end } = answer.value
    t.true(entries.every(entry => entry.attr?.ino === entry.ino && entry.type === S_IFREG))
    return {
      names: entries.map(entry => Buffer.from(entry.name).toString()),
      end,
      last: entries.at(-1)?.cookie ?? after,
    }
  }
  const first = list(0n, 2)
  t.deepEqual(first.names, ['a', 'b'])
  f.run(f.renameOp([f.root, 'a'], [f.root, 'a2']))
  f.run(f.renameOp([f.root, 'c'], [f.root, 'd']))
  f.unlink(f.root, 'b')
  f.create(f.root, 'b', S_IFREG)
  const rest = list(first.last, 10)
  t.deepEqual(rest.names, ['d', 'e', 'b'])
  t.true(rest.end)
  t.true(first.last > 2n)
})

test('exchanging a directory and a file moves .. and the link counts', t => {
  using f = new Fixture()
  const x = f.create(f.root, 'x', S_IFDIR).attr.ino
  const y = f.create(f.root, 'y', S_IFDIR).attr.ino
  const dir = f.create(x, 'd', S_IFDIR).attr.ino
  f.create(y, 'f', S_IFREG)
  f.run(f.renameOp([x, 'd'], [y, 'f'], { mode: RenameMode.RENAME_MODE_EXCHANGE }))
  t.is(f.lookup(y, 'f')?.ino, dir)
  t.deepEqual([f.attr(x).nlink, f.attr(y).nlink], [2, 3])
  t.is(f.store.inodes.find(dir)?.parent, toIno(y))
  t.deepEqual(fsck(f.store).problems, [])
})

test('a rename may leave a whiteout, in a directory too and over another name', t => {
  using f = new Fixture()
  const x = f.create(f.root, 'x', S_IFDIR).attr.ino
  const a = f.create(x, 'a', S_IFREG).attr.ino
  f.create(f.root, 'b', S_IFREG)
  const mode = RenameMode.RENAME_MODE_WHITEOUT
  f.run(f.renameOp([x, 'a'], [f.root, 'b'], { mode, uid: 7, gid: 8 }))
  t.is(f.lookup(f.root, 'b')?.ino, a)
  t.like(f.lookup(x, 'a'), { mode: S_IFCHR, rdev: 0, nlink: 1, uid: 7, gid: 8 })
  f.run(f.renameOp([f.root, 'x'], [f.root, 'y'], { mode }))
  t.like(f.lookup(f.root, 'x'), { mode: S_IFCHR, rdev: 0 })
  t.is(f.attr(f.root).nlink, 3)
  t.is(f.fails(f.renameOp([f.root, 'none'], [f.root, 'z'], { mode })), 'ENOENT')
  t.deepEqual(fsck(f.store).problems, [])
})

test('a directory moved over an empty one takes its place in the count', t => {
  using f = new Fixture()
  const from = f.create(f.root, 'from', S_IFDIR).attr.ino
  const to = f.create(f.root, 'to', S_IFDIR).attr.ino
  const moved = f.create(from, 'd', S_IFDIR).attr.ino
  f.create(moved, 'inside', S_IFREG)
  f.create(to, 'e', S_IFDIR)
  f.run(f.renameOp([from, 'd'], [to, 'e']))
  t.deepEqual([f.attr(from).nlink, f.attr(to).nlink, f.attr(f.root).nlink], [2, 3, 4])
  t.is(f.fails(f.renameOp([f.root, 'from'], [to, 'e'])), 'ENOTEMPTY')
  t.is(f.fails(f.renameOp([to, 'e'], [moved, 'x'])), 'EINVAL')
  f.run(f.renameOp([to, 'e'], [f.root, 'from']))
  t.deepEqual([f.attr(to).nlink, f.attr(f.root).nlink], [2, 4])
  t.deepEqual(f.list(moved), ['inside'])
  t.deepEqual(fsck(f.store).problems, [])
})

test('statfs counts inodes', t => {
  using f = new Fixture()
  f.create(f.root, 'a', S_IFREG)
  const answer = f.ask({ $case: 'statFs', value: {} })
  t.like(answer.value, { files: 2n, totalBytes: 100n, availableBytes: 50n, blockBytes: 65536 })
})

test('numbers that no row can have are answered, not stumbled over', t => {
  using f = new Fixture()
  const huge = 2n ** 64n - 1n
  const file = f.create(f.root, 'a', S_IFREG).attr.ino
  t.is(f.fails(f.createOp(huge, 'x', S_IFREG)), 'ENOENT')
  t.is(f.fails(f.linkOp(huge, f.root, 'x')), 'ESTALE')
  t.is(f.fails(f.unlinkOp(f.root, 'a', { expected: huge })), 'ESTALE')
  t.is(f.fails(f.renameOp([f.root, 'a'], [f.root, 'b'], { expectedTarget: huge })), 'ESTALE')
  t.is(f.fails(f.setAttrOp(huge, { uid: 1 })), 'ESTALE')
  t.is(f.fails({ $case: 'closeOrphan', value: { ino: huge, unsent: false } }), 'none')
  const extent = { offset: 0, length: 3, content: 'abc' }
  const block = { key: huge, id: Buffer.alloc(0), length: 3, receipts: [] }
  t.deepEqual(f.commit(file, [extent], { blocks: [block] }).again, [0])
  const clone = { from: file, to: file, fromOffset: huge, toOffset: 0n, length: huge }
  t.is(f.fails(f.cloneOp(clone)), 'EFBIG')
  const list = f.ask({
    $case: 'readDir',
    value: { ino: f.root, after: huge, limit: 2 ** 32 - 1, attrs: true, removing: false },
  })
  t.like(list.value, { entries: [], end: true })
  const extents = f.ask({ $case: 'getExtents', value: { ino: file, offset: huge, length: huge, limit: 1 } })
  t.like(extents.value, { extents: [] })
})
