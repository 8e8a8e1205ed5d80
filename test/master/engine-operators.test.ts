import test from 'ava'
import * as admin from '#src/wire/gen/cairn/v1/admin.ts'
import type { AdminMethod } from '#src/master/engine/io.ts'
import { ChunkNode, EngineFixture, Mount } from './engine-fixture.ts'
import { acquire, makeFile, unlink, writeFile } from './engine-ops.ts'

/** What an operator asks of the engine and does to its members. */
interface Message<T> {
  encode(message: T): { finish(): Uint8Array }
}
interface Answer<T> {
  decode(bytes: Uint8Array): T
}

function ask<Q, A>(
  fixture: EngineFixture,
  method: AdminMethod,
  [request, reply]: readonly [Message<Q>, Answer<A>],
  message: Q,
): A {
  const { bytes, code, message: why } = fixture.admin(method, request.encode(message).finish())
  if (bytes === undefined) throw new Error(`${method}: ${code ?? 'no answer'} ${why ?? ''}`)
  return reply.decode(bytes)
}

const status = [admin.StatusRequest, admin.StatusReply] as const
const evict = [admin.EvictMountRequest, admin.EvictMountReply] as const
const label = [admin.LabelNodeRequest, admin.LabelNodeReply] as const

const statusOf = (fixture: EngineFixture): admin.StatusReply => ask(fixture, 'status', status, {})
const codes = (fixture: EngineFixture): string[] => statusOf(fixture).findings.map(({ code }) => code)

test('findings say the same as reasons and notes, with a code and whom they are about', t => {
  const make = EngineFixture.make({}, { copies: 2, minCopies: 2 })
  return make.then(fixture => {
    t.deepEqual(codes(fixture).slice(0, 1), ['too-few-nodes-up'])
    const nodes = ['n1', 'n2'].map(host => new ChunkNode(fixture, host))
    const mount = new Mount(fixture)
    fixture.pass(1000, mount, ...nodes)
    t.deepEqual(codes(fixture), [])
    nodes[1]?.lose()
    mount.lose()
    const { findings, reasons, notes, health } = statusOf(fixture)
    t.is(health, 'down')
    t.deepEqual(
      findings.map(({ code, severity, node, session }) => [code, severity, node, session]),
      [
        ['too-few-nodes-up', 'down', 0n, 0n],
        ['node-down', 'degraded', nodes[1]?.node, 0n],
        ['mount-silent', 'note', 0n, mount.session],
      ],
    )
    const texts = findings.map(({ text }) => text)
    t.deepEqual(texts, [...reasons, ...notes])
    t.regex(notes[0] ?? '', /mount 1 \(\/mnt on h1\) is not connected: what it holds is free in 31 s/)
  })
})

test('an evicted mount has lost its leases and its session; a dry run changes nothing', async t => {
  const fixture = await EngineFixture.make()
  const nodes = ['n1', 'n2', 'n3'].map(host => new ChunkNode(fixture, host))
  const [mount, other] = [new Mount(fixture), new Mount(fixture, { mountpoint: '/other' })]
  makeFile(mount, 'f')
  fixture.pass(500, mount, other, ...nodes)
  const { session } = mount
  const dry = ask(fixture, 'evictMount', evict, { session, dryRun: true })
  t.like(dry.mount, { session, mountpoint: '/mnt', state: 'connected', leases: 2n, locks: 0n })
  t.is(statusOf(fixture).mounts.length, 2)
  t.is(mount.closed, undefined)
  ask(fixture, 'evictMount', evict, { session, dryRun: false })
  t.deepEqual(
    statusOf(fixture).mounts.map(each => each.mountpoint),
    ['/other'],
  )
  const refused = mount.items.find(item => item.$case === 'refused')
  t.like(refused?.value, { sessionDead: true })
  t.truthy(mount.closed)
  t.is(other.closed, undefined)
  const again = fixture.admin(
    'evictMount',
    admin.EvictMountRequest.encode({ session, dryRun: false }).finish(),
  )
  t.is(again.code, 'ENOENT')
})

test('a label is shown, survives a restart, is refused when it could confuse, and goes with the node', async t => {
  const fixture = await EngineFixture.make()
  const node = new ChunkNode(fixture, 'n1')
  const set = (text: string): unknown => ask(fixture, 'labelNode', label, { node: node.node, label: text })
  const shown = (): string | undefined => statusOf(fixture).nodes[0]?.label
  t.is(shown(), '')
  set('rack 3, slot 7')
  t.is(shown(), 'rack 3, slot 7')
  fixture.restart()
  t.is(shown(), 'rack 3, slot 7')
  t.regex(statusOf(fixture).reasons.join(), /chunkserver 1 \(rack 3, slot 7, n1:1\) is down/)
  t.throws(() => set('x\u001b[2J'), { message: /EINVAL.*control characters/ })
  t.throws(() => set('x'.repeat(101)), { message: /EINVAL/ })
  t.throws(() => ask(fixture, 'labelNode', label, { node: 9n, label: 'x' }), { message: /ENOENT/ })
  t.is(shown(), 'rack 3, slot 7')
  set('')
  t.is(shown(), '')
})

const locks = [admin.LocksRequest, admin.LocksReply] as const
const leases = [admin.LeasesRequest, admin.LeasesReply] as const
const removal = [admin.RemovalStatusRequest, admin.RemovalStatusReply] as const

test('locks are listed with who holds and who waits, by file and by mount', async t => {
  const fixture = await EngineFixture.make()
  const [mount, other] = [new Mount(fixture), new Mount(fixture, { mountpoint: '/other', host: 'h2' })]
  const [f, g] = [makeFile(mount, 'f'), makeFile(mount, 'g')]
  const lock = (ino: bigint, owner: bigint, flock: boolean, wait: boolean) =>
    ({
      $case: 'setLock',
      value: { ino, wait, lock: { kind: 2, start: 10n, end: 19n, owner, pid: 77, flock } },
    }) as const
  mount.call(lock(f, 1n, false, false), 'done')
  mount.call(lock(g, 1n, true, false), 'done')
  other.send(lock(f, 5n, false, true))
  fixture.pass(1000, mount, other)
  const list = (of: Partial<admin.LocksRequest>): admin.LocksReply =>
    ask(fixture, 'locks', locks, { ino: 0n, session: 0n, limit: 10, ...of })
  t.like(list({ ino: f }), {
    locks: {
      0: { ino: f, session: mount.session, mountpoint: '/mnt', pid: 77, flock: false, exclusive: true },
      1: { session: other.session, host: 'h2', waiting: true, start: 10n, end: 19n },
      length: 2,
    },
    more: false,
  })
  t.is(Buffer.from(list({ ino: f }).locks[0]?.path ?? []).toString(), '/f')
  t.true((list({ ino: f }).locks[1]?.waitedMs ?? 0n) >= 1000n)
  t.like(list({ session: mount.session }), { locks: { length: 2 } })
  t.like(list({}), { locks: { length: 3 }, more: false })
  t.like(list({ limit: 1 }), { locks: { length: 1 }, more: true })
  t.deepEqual(
    statusOf(fixture).mounts.map(({ locks: held, waiting }) => [held, waiting]),
    [
      [2n, 0n],
      [0n, 1n],
    ],
  )
})

test('leases are listed by file and mount, and those that are waited for', async t => {
  const fixture = await EngineFixture.make()
  const [mount, other] = [new Mount(fixture), new Mount(fixture, { mountpoint: '/other' })]
  const f = makeFile(mount, 'f')
  const list = (of: Partial<admin.LeasesRequest>): admin.LeasesReply =>
    ask(fixture, 'leases', leases, { ino: 0n, session: 0n, contended: false, limit: 10, ...of })
  t.like(list({ ino: f }), {
    leases: { 0: { ino: f, session: mount.session, lease: 'write', waiting: 0, recalledMs: 0n }, length: 1 },
  })
  t.deepEqual(list({ contended: true }).leases, [])
  other.send(acquire(f, 'read'))
  fixture.pass(2000, mount, other)
  const [waited] = list({ contended: true }).leases
  t.like(waited, { ino: f, session: mount.session, waiting: 1 })
  t.true((waited?.recalledMs ?? 0n) >= 2000n)
  t.deepEqual(list({ session: other.session }).leases, [])
  t.like(list({ limit: 1 }), { leases: { length: 1 }, more: true })
})

test('what is to be removed is counted by state and age, with what holds it up', async t => {
  const fixture = await EngineFixture.make({ grantMs: 1000 })
  const nodes = ['n1', 'n2', 'n3'].map(host => new ChunkNode(fixture, host))
  const mount = new Mount(fixture)
  const ask1 = (): admin.RemovalStatusReply => ask(fixture, 'removalStatus', removal, {})
  writeFile(mount, nodes, makeFile(mount, 'f'), 'content')
  writeFile(mount, nodes, makeFile(mount, 'g'), 'other content')
  for (const node of nodes) node.tell()
  fixture.pass(1000, mount, ...nodes)
  t.like(ask1(), { paused: '', short: false, condemned: { count: 0n, bytes: 0n, oldestMs: 0n } })
  mount.call(unlink('f'), 'remove')
  fixture.pass(20 * 60_000, mount, ...nodes)
  mount.call(unlink('g'), 'remove')
  fixture.pass(1000, mount, ...nodes)
  const found = ask1()
  t.like(found, { condemned: { count: 2n, bytes: 2000n }, deleting: { count: 0n }, orphans: 0n })
  t.true((found.condemned?.oldestMs ?? 0n) >= 20n * 60_000n)
  t.deepEqual(
    found.ages.map(({ count }) => count),
    [1n, 1n, 0n, 0n],
  )
  for (const node of nodes) node.failDeletes = true
  fixture.pass(2 * 3_600_000, mount, ...nodes)
  const stopped = ask1()
  t.like(stopped, { deleting: { count: 2n, bytes: 2000n, more: false }, condemned: { count: 0n } })
  t.deepEqual(
    stopped.nodes.map(each => each.stopped),
    ['bad disk', 'bad disk', 'bad disk'],
  )
})

test('nothing is removed before the database was read as a whole, nor when that found that it contradicts itself', async t => {
  const fixture = await EngineFixture.make({ grantMs: 1000 })
  const nodes = ['n1', 'n2', 'n3'].map(host => new ChunkNode(fixture, host))
  const mount = new Mount(fixture)
  const found = {
    checked: true,
    problems: [],
    differences: [],
    unreadable: [],
    endangered: false,
    failing: '',
  }
  const note = (state: Partial<typeof found> | Record<string, unknown>): void =>
    fixture.step({ kind: 'integrity', state: { ...found, ...state } })
  const paused = (): string => ask(fixture, 'removalStatus', removal, {}).paused
  const kept = (): number => nodes.reduce((sum, { blocks }) => sum + blocks.size, 0)
  note({ checked: false })
  writeFile(mount, nodes, makeFile(mount, 'f'), 'content')
  for (const node of nodes) node.tell()
  mount.call(unlink('f'), 'remove')
  fixture.pass(3 * 3_600_000, mount, ...nodes)
  t.is(paused(), 'the metadata is being checked')
  t.true(kept() > 0)
  note({ checked: false, failing: 'no process' })
  t.is(paused(), 'the metadata cannot be checked: no process')
  t.deepEqual(codes(fixture), ['metadata-unchecked'])
  note({ problems: ['Inode 2 has 3 links'], endangered: true })
  fixture.pass(60_000, mount, ...nodes)
  t.is(paused(), 'the metadata has problems: cairn health')
  t.deepEqual(codes(fixture), ['metadata-problems'])
  t.true(kept() > 0)
  // A time or a name that is not what it was says nothing of blocks.
  note({ differences: ['inode 2: mode, owner, size or a time is not what it was'] })
  t.deepEqual(codes(fixture), ['metadata-differs'])
  fixture.pass(60_000, mount, ...nodes)
  t.is(paused(), '')
  t.is(kept(), 0)
  note({ unreadable: ['b.db: no database'] })
  t.deepEqual(codes(fixture), ['backup-unreadable'])
  t.is(paused(), '')
  note({})
  t.deepEqual(codes(fixture), [])
})

test('traffic is told by heartbeats, and shown by node and mount', async t => {
  const fixture = await EngineFixture.make()
  const nodes = ['n1', 'n2'].map(host => new ChunkNode(fixture, host))
  const mount = new Mount(fixture)
  fixture.pass(250, mount, ...nodes)
  for (const node of nodes) node.traffic = { receivedBytes: 1000n, sentBytes: 500n }
  mount.traffic = { fetchedBytes: 250n, storedBytes: 0n }
  fixture.pass(250, mount, ...nodes)
  const shown = statusOf(fixture)
  t.like(shown.nodes[0], { receivedBytes: 1000n, receivedPerSecond: 4000n, sentPerSecond: 2000n })
  t.like(shown.mounts[0], { fetchedBytes: 250n, fetchedPerSecond: 1000n, storedPerSecond: 0n })
  nodes[0]?.lose()
  t.like(statusOf(fixture).nodes[0], { receivedPerSecond: 0n })
  makeFile(mount, 'f')
  const { operations, boundsUs } = ask(
    fixture,
    'activity',
    [admin.ActivityRequest, admin.ActivityReply] as const,
    {},
  )
  const create = operations.find(({ operation }) => operation === 'create')
  t.is(create?.counts.length, boundsUs.length + 1)
  t.is(
    create?.counts.reduce((sum, count) => sum + count, 0n),
    1n,
  )
})
