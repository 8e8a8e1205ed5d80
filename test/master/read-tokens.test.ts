import test from 'ava'
import { errno } from '#src/core/errors.ts'
import type { EngineSettings } from '#src/master/engine/settings.ts'
import type { ReadKey } from '#src/wire/gen/cairn/v1/nodes.ts'
import { ListBlocksReply, ListBlocksRequest } from '#src/wire/gen/cairn/v1/admin.ts'
import type { ExtentsReply } from '#src/wire/gen/cairn/v1/session.ts'
import { isReadToken, noSession, readerOf, readKey, readTokenClaim } from '#src/wire/read-token.ts'
import { ChunkNode, EngineFixture, Mount } from './engine-fixture.ts'
import { create, makeFile, unlink, writeFile } from './engine-ops.ts'
import { Cluster, laptop } from './exports-fixture.ts'

const minuteMs = 60_000

interface Options {
  readonly settings?: Partial<EngineSettings>
  readonly identity?: string
}

async function world(t: { teardown(fn: () => void): void }, { settings = {}, identity }: Options = {}) {
  const fixture = await EngineFixture.make(settings)
  fixture.identity = identity
  t.teardown(() => fixture.store.close())
  const nodes = ['n1', 'n2', 'n3'].map(name => new ChunkNode(fixture, name))
  const mount = new Mount(fixture)
  const ino = makeFile(mount, 'f')
  const id = writeFile(mount, nodes, ino, 'what is in it')
  return { fixture, nodes, mount, ino, id }
}

const extentsOf = (mount: Mount, ino: bigint): ExtentsReply =>
  mount.call({ $case: 'getExtents', value: { ino, offset: 0n, length: 100n, limit: 10 } }, 'extents')

/** Whether a node takes the token, by the keys that it was told. */
function isGood(keys: readonly ReadKey[], reader: Uint8Array, token: Uint8Array, id: Uint8Array): boolean {
  const known = keys.find(key => key.id === readTokenClaim(token)?.keyId)
  return known !== undefined && isReadToken(readKey(known.id, known.key).key, reader, token, id)
}

const readerOfMount = (mount: Mount, identity = ''): Buffer => readerOf(mount.session, mount.epoch, identity)

test('the extents of a file come with the right to read its blocks, for this session alone', async t => {
  const { fixture, nodes, mount, ino, id } = await world(t)
  const keys = nodes[0]?.readKeys ?? []
  t.is(keys.length, 2)
  for (const node of nodes) t.deepEqual(node.readKeys, keys, 'all nodes know the same')
  const { blocks, tokensUntil } = extentsOf(mount, ino)
  const token = blocks[0]?.token ?? Buffer.alloc(0)
  t.true(isGood(keys, readerOfMount(mount), token, id))
  t.is(BigInt(readTokenClaim(token)?.expiry ?? 0) * 1_000_000_000n, tokensUntil)
  t.true(tokensUntil > fixture.wall + BigInt(9 * minuteMs) * 1_000_000n)
  t.true(tokensUntil < fixture.wall + BigInt(11 * minuteMs) * 1_000_000n)
  const other = new Mount(fixture)
  t.false(isGood(keys, readerOfMount(other), token, id))
  t.false(isGood(keys, noSession, token, id))
})

test('who names a block gets no right to it: neither by its place nor by what the cluster has already', async t => {
  const { fixture, mount, id } = await world(t)
  const located = mount.call({ $case: 'locate', value: { ids: [id] } }, 'locate')
  t.is(located.blocks.length, 1)
  t.is(located.blocks[0]?.token.length, 0)
  const value = { ino: 99n, offset: 0n, length: 100n, limit: 10 }
  t.is(mount.errno({ $case: 'getExtents', value }), errno.ESTALE)
  t.is(fixture.logs.filter(line => line.includes('unexpectedly')).length, 0)
})

test('a removed file gives no rights any more', async t => {
  const { mount, ino } = await world(t)
  mount.reply(unlink('f'))
  const value = { ino, offset: 0n, length: 100n, limit: 10 }
  t.is(mount.errno({ $case: 'getExtents', value }), errno.ESTALE)
})

test('with TLS a token names the certificate that the mount came with', async t => {
  const identity = 'ab'.repeat(16)
  const { nodes, mount, ino, id } = await world(t, { identity })
  const token = extentsOf(mount, ino).blocks[0]?.token ?? Buffer.alloc(0)
  const keys = nodes[0]?.readKeys ?? []
  t.true(isGood(keys, readerOfMount(mount, identity), token, id))
  t.false(isGood(keys, readerOfMount(mount), token, id))
})

test('keys rotate, and nodes know a key long before it is used', async t => {
  const settings = { readKeyMs: 4 * minuteMs, readTokenMs: minuteMs }
  const { fixture, nodes, mount, ino, id } = await world(t, { settings })
  const [node] = nodes
  if (node === undefined) return t.fail()
  const before = [...node.readKeys]
  const used = new Set<bigint>()
  for (let round = 0; round < 4; round++) {
    const known = [...node.readKeys]
    fixture.pass(settings.readKeyMs, mount, ...nodes)
    const token = extentsOf(mount, ino).blocks[0]?.token ?? Buffer.alloc(0)
    t.true(isGood(known, readerOfMount(mount), token, id), 'it had been told before it was needed')
    used.add(readTokenClaim(token)?.keyId ?? 0n)
  }
  t.is(used.size, 4)
  t.false(used.has(before[0]?.id ?? 0n), 'the first one is not used any more')
  for (const { from, until } of node.readKeys) t.is(until - from, BigInt(5 * minuteMs) * 1_000_000n)
})

test('a master that starts anew makes new keys, and tells them to who attaches', async t => {
  const { fixture, nodes, mount, ino, id } = await world(t)
  const before = new Set(nodes[0]?.readKeys.map(key => key.id))
  fixture.pass(1000, mount, ...nodes)
  fixture.restart()
  for (const node of nodes) node.reattach()
  mount.reattach()
  mount.reply({ $case: 'reclaim', value: { leases: [], locks: [], last: true } })
  const token = extentsOf(mount, ino).blocks[0]?.token ?? Buffer.alloc(0)
  t.true(isGood(nodes[1]?.readKeys ?? [], readerOfMount(mount), token, id))
  t.false(before.has(readTokenClaim(token)?.keyId ?? 0n))
})

test('an administrator may read all blocks, to check them', async t => {
  const { fixture, nodes, id } = await world(t)
  const request = ListBlocksRequest.encode({ afterKey: 0n, limit: 10 }).finish()
  const { blocks } = ListBlocksReply.decode(fixture.admin('listBlocks', request).bytes ?? Buffer.alloc(0))
  t.is(blocks.length, 1)
  t.true(isGood(nodes[0]?.readKeys ?? [], noSession, blocks[0]?.token ?? Buffer.alloc(0), id))
})

test('tokens of an export say its rate and whether files may be read past the nodes; nodes hear what is theirs', async t => {
  const cluster = await Cluster.make()
  cluster.export({ rules: { readBytesPerSecond: 3_000_000n, shortCircuit: true } })
  const mount = cluster.mount(laptop)
  t.like(mount.items[0], { $case: 'welcome', value: { noShortCircuit: true } })
  const file = mount.call(create('file', { parent: cluster.sub }), 'entry').attr?.ino ?? 0n
  writeFile(mount, cluster.nodes, file, 'text')
  const termsOf = (of: Mount, ino: bigint) =>
    readTokenClaim(extentsOf(of, ino).blocks[0]?.token ?? Buffer.alloc(0))?.terms
  const terms = termsOf(mount, file)
  t.like(terms, { bytesPerSecond: 250_000, mayReadFiles: false }, 'a quarter, divided by three')
  t.is(termsOf(cluster.all, cluster.secret), undefined)
  const number = terms?.export ?? 0n
  for (const [index, node] of cluster.nodes.entries()) {
    node.demands = [
      { export: number, bytes: BigInt(1000 * (index + 1)) },
      { export: 99n, bytes: 1n },
    ]
    node.beat()
    t.deepEqual(
      node.readShares.map(share => share.export),
      [number],
    )
  }
  const again = cluster.nodes.map(node => {
    node.beat()
    return node.readShares[0]?.bytesPerSecond ?? 0n
  })
  t.is(
    again.reduce((sum, each) => sum + each, 0n),
    3_000_000n,
  )
  t.true((again[0] ?? 0n) < (again[2] ?? 0n))

  t.is(cluster.set({ rules: { readBytesPerSecond: 0n } }), undefined)
  cluster.fixture.identity = laptop
  t.like(mount.reattach(), { $case: 'welcome', value: { noShortCircuit: false } })
  t.is(termsOf(mount, file), undefined)
  t.is(cluster.set({ rules: { shortCircuit: false } }), undefined)
  cluster.fixture.identity = laptop
  t.like(mount.reattach(), { $case: 'welcome', value: { noShortCircuit: true } })
  t.like(termsOf(mount, file), { bytesPerSecond: 0, mayReadFiles: false })
})
