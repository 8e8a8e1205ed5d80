import test from 'ava'
import * as admin from '#src/wire/gen/cairn/v1/admin.ts'
import { ChunkNode, EngineFixture, Mount } from './engine-fixture.ts'
import { create, makeFile, name, unlink, writeFile } from './engine-ops.ts'

const must = (bytes: Uint8Array | undefined): Uint8Array => {
  if (bytes === undefined) throw new Error('no answer')
  return bytes
}

test('info tells extents, copies and a path of any inode', async t => {
  const fixture = await EngineFixture.make()
  const nodes = ['n1', 'n2', 'n3'].map(host => new ChunkNode(fixture, host))
  const mount = new Mount(fixture)
  const directory = mount.call(create('dir', { mode: 0o40755 }), 'entry').attr?.ino ?? 0n
  const ino = mount.call(create('file é', { parent: directory }), 'entry').attr?.ino ?? 0n
  const id = writeFile(mount, nodes, ino, 'content')
  const info = (of: bigint): admin.InfoReply =>
    admin.InfoReply.decode(
      must(
        fixture.admin(
          'info',
          admin.InfoRequest.encode({ ino: of, offset: 0n, limit: 10, withoutPath: false }).finish(),
        ).bytes,
      ),
    )
  const found = info(ino)
  t.is(Buffer.from(found.path).toString(), '/dir/file é')
  t.is(found.extents.length, 1)
  t.deepEqual(Buffer.from(found.extents[0]?.block ?? []), id)
  t.is(found.extents[0]?.locations.length, 3)
  t.like(found, { copies: 3, more: false, extentsTotal: 1n })
  t.is(Buffer.from(info(1n).path).toString(), '/')
  t.is(Buffer.from(info(directory).path).toString(), '/dir')
  mount.call(unlink('file é', { parent: directory, open: true }), 'remove')
  t.is(info(ino).path.length, 0, 'an orphan has none')
  t.is(
    fixture.admin(
      'info',
      admin.InfoRequest.encode({ ino: 99n, offset: 0n, limit: 1, withoutPath: false }).finish(),
    ).code,
    'ENOENT',
  )
  t.is(fixture.admin('info', Buffer.from('ffff', 'hex')).code, 'EPROTO')
})

test('copies are set for a whole tree, and the blocks follow', async t => {
  const fixture = await EngineFixture.make({ rowsPerTick: 3, grantMs: 1000 })
  const nodes = ['n1', 'n2', 'n3'].map(host => new ChunkNode(fixture, host))
  const mount = new Mount(fixture)
  let parent = 1n
  for (let depth = 0; depth < 3; depth++)
    parent = mount.call(create(`d${depth}`, { parent, mode: 0o40755 }), 'entry').attr?.ino ?? 0n
  const inos = Array.from(
    { length: 7 },
    (_, index) => mount.call(create(`f${index}`, { parent }), 'entry').attr?.ino ?? 0n,
  )
  const ids = inos.map(ino => writeFile(mount, nodes, ino, `content ${ino}`))
  for (const node of nodes) node.tell()
  const set = (ino: bigint, copies: number, recursive: boolean): bigint =>
    admin.SetCopiesReply.decode(
      must(
        fixture.admin('setCopies', admin.SetCopiesRequest.encode({ ino, copies, recursive }).finish()).bytes,
      ),
    ).changed
  t.is(set(1n, 2, true), 11n)
  t.is(set(1n, 2, true), 0n)
  fixture.pass(10_000, mount, ...nodes)
  for (const id of ids) t.is(nodes.filter(node => node.blocks.has(id.toString('hex'))).length, 2)
  t.is(set(inos[0] ?? 0n, 3, false), 1n)
  fixture.pass(5000, mount, ...nodes)
  t.is(fixture.store.blocks.owner(ids[0] ?? Buffer.alloc(32))?.have, 3)
})

test('fsck finds a sound database sound and a damaged one damaged; blocks are listed in pages', async t => {
  const fixture = await EngineFixture.make()
  const nodes = ['n1', 'n2', 'n3'].map(host => new ChunkNode(fixture, host))
  const mount = new Mount(fixture)
  for (let index = 0; index < 5; index++)
    writeFile(mount, nodes, makeFile(mount, `f${index}`), `content ${index}`)
  const fsck = (): admin.FsckReply =>
    admin.FsckReply.decode(must(fixture.admin('fsck', admin.FsckRequest.encode({}).finish()).bytes))
  t.like(fsck(), { problems: [], inodes: 6n, blocks: 5n, replicas: 15n })
  const list = (afterKey: bigint): admin.ListedBlock[] =>
    admin.ListBlocksReply.decode(
      must(
        fixture.admin('listBlocks', admin.ListBlocksRequest.encode({ afterKey, limit: 3 }).finish()).bytes,
      ),
    ).blocks
  const first = list(0n)
  t.is(first.length, 3)
  t.is(list(first[2]?.key ?? 0n).length, 2)
  fixture.store.transaction(() => fixture.store.dirents.remove(1n as never, name('f3')))
  t.true(fsck().problems.length > 0)
})

test('status names nodes, mounts and what is wrong', async t => {
  const fixture = await EngineFixture.make({}, { copies: 2, minCopies: 2 })
  const status = (): admin.StatusReply =>
    admin.StatusReply.decode(must(fixture.admin('status', admin.StatusRequest.encode({}).finish()).bytes))
  t.is(status().health, 'down')
  const nodes = ['n1', 'n2'].map(host => new ChunkNode(fixture, host))
  const mount = new Mount(fixture)
  makeFile(mount, 'f')
  fixture.pass(1000, mount, ...nodes)
  const fine = status()
  t.like(fine, { health: 'ok', reasons: [], inodes: 2n, copies: 2, minCopies: 2 })
  t.like(fine.mounts, { 0: { mountpoint: '/mnt', state: 'connected', leases: 2n }, length: 1 })
  t.like(fine.nodes[1], { id: 2n, zone: 'n2', state: 'up' })
  // Silent without a lost connection.
  fixture.pass(16_000, mount, ...nodes.slice(0, 1))
  t.like(status(), { health: 'down', nodes: { 1: { state: 'down' } } })
})

test('a path is browsed in pages of bytes, symlinks are shown and not followed', async t => {
  const fixture = await EngineFixture.make()
  const mount = new Mount(fixture)
  const folder = mount.call(create('dir', { mode: 0o40755 }), 'entry').attr?.ino ?? 0n
  const inos = ['b', 'a', 'é'].map(
    file => mount.call(create(file, { parent: folder }), 'entry').attr?.ino ?? 0n,
  )
  const browse = (path: Uint8Array | string, after = 0n, limit = 2): admin.BrowseReply =>
    admin.BrowseReply.decode(
      must(
        fixture.admin(
          'browse',
          admin.BrowseRequest.encode({ path: Buffer.from(path), after, limit }).finish(),
        ).bytes,
      ),
    )
  const code = (path: string) =>
    fixture.admin(
      'browse',
      admin.BrowseRequest.encode({ path: Buffer.from(path), after: 0n, limit: 1 }).finish(),
    ).code
  const names = ({ entries }: admin.BrowseReply) => entries.map(entry => Buffer.from(entry.name).toString())
  t.deepEqual(names(browse('')), ['dir'])
  t.deepEqual(names(browse('/')), ['dir'])
  const first = browse('/dir//')
  t.like(first, { more: true, copies: 3 })
  t.deepEqual(names(first), ['b', 'a'])
  const rest = browse('dir', first.entries.at(-1)?.cookie)
  t.is(rest.more, false)
  t.deepEqual(names(rest), ['é'])
  t.is(rest.entries[0]?.attr?.ino, inos[2])
  t.like(browse('/dir/é'), { entries: [], more: false })
  t.is(browse('/dir/é').attr?.ino, inos[2])
  t.deepEqual(browse('/dir', 0n, 0).entries, [])
  t.is(code('/nothing'), 'ENOENT')
  t.is(code('/dir/a/b'), 'ENOTDIR')
  t.is(code('/dir/../dir'), 'EINVAL')
  t.is(code(`/${'x'.repeat(256)}`), 'ENAMETOOLONG')
  t.truthy(code('/x'.repeat(2049)))
})
