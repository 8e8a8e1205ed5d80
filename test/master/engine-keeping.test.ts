import test, { type ExecutionContext } from 'ava'
import { wireVersionDomains } from '#src/core/limits.ts'
import { KiB } from '#src/core/units.ts'
import type { AdminMethod } from '#src/master/engine/io.ts'
import * as admin from '#src/wire/gen/cairn/v1/admin.ts'
import { ChunkNode, EngineFixture, Mount, sha } from './engine-fixture.ts'
import { commit, lookup, makeFile, plan, unlink, writeFile } from './engine-ops.ts'

/** What the master does with blocks on nodes that are emptied, removed, broken, or fuller than others. */
interface Codec<Message> {
  encode(message: Message): { finish(): Uint8Array }
  decode(bytes: Uint8Array): Message
}

function ask<Request, Reply>(
  fixture: EngineFixture,
  method: AdminMethod,
  request: Codec<Request>,
  reply: Codec<Reply>,
  value: Request,
): Reply {
  const { bytes, message } = fixture.admin(method, request.encode(value).finish())
  if (bytes === undefined) throw new Error(message ?? 'no answer')
  return reply.decode(bytes)
}

const status = (fixture: EngineFixture): admin.StatusReply =>
  ask(fixture, 'status', admin.StatusRequest, admin.StatusReply, {})
const drain = (fixture: EngineFixture, { node }: ChunkNode, draining = true): admin.SetDrainingReply =>
  ask(fixture, 'setDraining', admin.SetDrainingRequest, admin.SetDrainingReply, { node, draining })
const remove = (fixture: EngineFixture, { node }: ChunkNode, anyway = false): admin.RemoveNodeReply =>
  ask(fixture, 'removeNode', admin.RemoveNodeRequest, admin.RemoveNodeReply, { node, anyway })
const repair = (fixture: EngineFixture): Map<string, bigint> =>
  new Map(
    ask(fixture, 'repairStatus', admin.RepairStatusRequest, admin.RepairStatusReply, {}).classes.map(
      ({ name, blocks }) => [name, blocks],
    ),
  )
const damaged = (fixture: EngineFixture): admin.DamagedReply =>
  ask(fixture, 'damaged', admin.DamagedRequest, admin.DamagedReply, {})

const nodesOf = (fixture: EngineFixture, ...names: string[]): ChunkNode[] =>
  names.map(name => new ChunkNode(fixture, name))
const copiesOf = (nodes: readonly ChunkNode[], id: Buffer): number =>
  nodes.filter(node => node.blocks.has(id.toString('hex'))).length
const one = <T>(t: ExecutionContext, list: readonly T[], at = 0): T => {
  const found = list[at]
  t.not(found, undefined)
  return found as T
}

async function cluster(
  names: readonly string[],
  settings: Parameters<typeof EngineFixture.make>[0] = {},
  format: Parameters<typeof EngineFixture.make>[1] = { copies: 2, minCopies: 1 },
  files = 20,
) {
  const fixture = await EngineFixture.make(
    { repairDelayMs: 5000, maintenanceMs: 60_000, ...settings },
    format,
  )
  const nodes = nodesOf(fixture, ...names)
  const mount = new Mount(fixture)
  const ids = Array.from({ length: files }, (_, index) =>
    writeFile(mount, nodes, makeFile(mount, `f${String(index)}`), `content ${String(index)}`),
  )
  for (const node of nodes) node.tell()
  fixture.pass(1000, mount, ...nodes)
  return { fixture, nodes, mount, ids }
}

test('a node is emptied, also over a restart of the master, takes nothing new, and can then be removed', async t => {
  const { fixture, nodes, mount, ids } = await cluster(['n1', 'n2', 'n3'])
  const leaving = one(t, nodes)
  t.true(leaving.blocks.size > 0)
  t.regex(remove(fixture, leaving).refused, /it is up: empty it first/)
  for (const node of nodes) node.obedient = false
  t.deepEqual(drain(fixture, leaving).refused, [])
  const before = leaving.blocks.size
  t.like(
    status(fixture).nodes.find(({ id }) => id === leaving.node),
    { draining: true, blocksLeft: BigInt(before) },
  )
  t.regex(remove(fixture, leaving, true).refused, /not empty yet/)
  fixture.restart()
  mount.reattach()
  mount.call({ $case: 'reclaim', value: { leases: [], locks: [], last: true } }, 'done')
  for (const node of nodes) {
    node.obedient = true
    node.reattach()
  }
  for (let more = 0; more < 5; more++) {
    const id = sha(`more ${String(more)}`)
    const { blocks } = mount.call(plan(makeFile(mount, `g${String(more)}`), id, 1000), 'plan')
    t.false(blocks[0]?.targets.some(({ node }) => node === leaving.node))
  }
  fixture.pass(20_000, mount, ...nodes)
  t.is(leaving.blocks.size, 0)
  for (const id of ids) t.is(copiesOf(nodes, id), 2)
  t.like(
    status(fixture).nodes.find(({ id }) => id === leaving.node),
    { draining: true, blocksLeft: 0n },
  )
  t.is(remove(fixture, leaving).refused, '')
  t.is(status(fixture).nodes.length, 2)
  t.regex(leaving.closed ?? '', /was removed/)
  leaving.reattach()
  t.like(leaving.items[0], { $case: 'refused' })
  t.is(status(fixture).health, 'ok')
})

test('what is committed on a node after its rows were looked at goes, too', async t => {
  const { fixture, nodes, mount } = await cluster(['n1', 'n2', 'n3'])
  const ino = makeFile(mount, 'late')
  const id = mount.idOf('late')
  const targets = mount.call(plan(ino, id, 1000), 'plan').blocks[0]?.targets ?? []
  const leaving = one(
    t,
    nodes.filter(({ node }) => targets.some(target => target.node === node)),
  )
  drain(fixture, leaving)
  fixture.pass(20_000, mount, ...nodes)
  t.is(leaving.blocks.size, 0)
  const receipts = targets.flatMap(target =>
    nodes.filter(({ node }) => node === target.node).map(node => node.put(target, id, 1000)),
  )
  const { again } = mount.call(commit(ino, { key: 0n, id, length: 1000, receipts }), 'commit')
  t.deepEqual(again, [])
  t.is(leaving.blocks.size, 1)
  for (const node of nodes) node.tell()
  fixture.pass(20_000, mount, ...nodes)
  t.is(leaving.blocks.size, 0)
  t.is(copiesOf(nodes, id), 2)
})

test('a node that is emptied is, also if one goes away to which copies were under way', async t => {
  const { fixture, nodes, mount, ids } = await cluster(['n1', 'n2', 'n3', 'n4'], { repairDelayMs: 60_000 })
  const [leaving, target, ...others] = nodes
  if (leaving === undefined || target === undefined) throw new Error('four nodes')
  target.obedient = false
  drain(fixture, leaving)
  fixture.pass(5000, mount, ...nodes)
  const left = leaving.blocks.size
  t.true(left > 0)
  target.lose()
  fixture.pass(20_000, mount, leaving, ...others)
  t.is(leaving.blocks.size, 0)
  for (const id of ids) t.true(copiesOf(nodes, id) >= 2)
})

test('a node is not removed with a block that was committed there while it was looked at', async t => {
  const { fixture, nodes, mount, ids } = await cluster(
    ['n1', 'n2', 'n3'],
    { rowsPerTick: 1 },
    { copies: 1, minCopies: 1 },
  )
  const leaving = one(t, nodes)
  const there = ids.filter(id => leaving.blocks.has(id.toString('hex')))
  t.true(there.length > 2)
  for (const id of there) mount.call(unlink(`f${String(ids.indexOf(id))}`), 'remove')
  t.deepEqual(drain(fixture, leaving).refused, [])
  fixture.step({
    kind: 'admin',
    call: 777,
    method: 'removeNode',
    bytes: admin.RemoveNodeRequest.encode({ node: leaving.node, anyway: false }).finish(),
  })
  fixture.step({ kind: 'tick' })
  t.false(fixture.answers.has(777))
  // What was written first has the lowest key: it has been looked at, and had no references.
  const [id] = there as [Buffer]
  const ino = makeFile(mount, 'again')
  const { key } = one(t, mount.call(plan(ino, id, 1000), 'plan').blocks)
  t.not(key, 0n)
  const { again } = mount.call(commit(ino, { key, id, length: 1000, receipts: [] }), 'commit')
  t.deepEqual(again, [])
  for (const node of nodes) node.obedient = false
  fixture.pass(5000, mount, ...nodes)
  const { bytes } = fixture.answers.get(777) ?? {}
  t.regex(admin.RemoveNodeReply.decode(bytes ?? new Uint8Array()).refused, /no other chunkserver/)
  // It goes when the block is elsewhere.
  for (const node of nodes) {
    node.obedient = true
    node.reattach()
  }
  fixture.pass(20_000, mount, ...nodes)
  t.is(remove(fixture, leaving).refused, '')
  t.is(copiesOf(nodes.slice(1), id), 1)
})

test('what nothing can be done about does not keep the rest from getting its copies', async t => {
  const { fixture, nodes, mount, ids } = await cluster(
    ['n1', 'n2', 'n3'],
    {},
    { copies: 1, minCopies: 1 },
    520,
  )
  const healthy = ids.slice(500)
  const rotten = new Set(ids.slice(0, 500).map(id => id.toString('hex')))
  for (const node of nodes) node.rotten = rotten
  for (const id of ids.slice(0, 500))
    for (const node of nodes) {
      const { generation } = node.blocks.get(id.toString('hex')) ?? {}
      if (generation !== undefined) node.up({ $case: 'damaged', value: { id, generation, what: 'rotten' } })
    }
  fixture.pass(5000, mount, ...nodes)
  t.is(repair(fixture).get('lost'), 500n)
  for (const [at] of healthy.entries())
    ask(fixture, 'setCopies', admin.SetCopiesRequest, admin.SetCopiesReply, {
      ino: mount.call(lookup(`f${String(500 + at)}`), 'entry').attr?.ino ?? 0n,
      copies: 2,
      recursive: false,
    })
  fixture.pass(20_000, mount, ...nodes)
  for (const id of healthy) t.is(copiesOf(nodes, id), 2)
})

test('more copies are made also where a dead node is still counted among those that have one', async t => {
  const { fixture, nodes, mount, ids } = await cluster(['n1', 'n2', 'n3', 'n4'])
  const [dead, ...others] = nodes
  dead?.lose()
  fixture.pass(20_000, mount, ...others)
  for (const id of ids) t.is(copiesOf(others, id), 2)
  ask(fixture, 'setCopies', admin.SetCopiesRequest, admin.SetCopiesReply, {
    ino: 1n,
    copies: 3,
    recursive: true,
  })
  fixture.pass(20_000, mount, ...others)
  for (const id of ids) t.is(copiesOf(others, id), 3)
})

test('what was written while a machine was away is spread over it when it is back', async t => {
  const { fixture, nodes, mount } = await cluster([], {}, { copies: 2, minCopies: 1 }, 0)
  nodes.push(
    new ChunkNode(fixture, 'a1', 'a'),
    new ChunkNode(fixture, 'a2', 'a'),
    new ChunkNode(fixture, 'c1', 'c'),
  )
  const away = one(t, nodes, 2)
  const here = nodes.slice(0, 2)
  fixture.pass(5000, mount, ...nodes)
  away.lose()
  fixture.pass(20_000, mount, ...here)
  const ids = [1, 2, 3].map(n =>
    writeFile(mount, here, makeFile(mount, `w${String(n)}`), `written ${String(n)}`),
  )
  for (const node of here) node.tell()
  fixture.pass(5000, mount, ...here)
  for (const id of ids) t.is(copiesOf(here, id), 2)
  away.reattach()
  fixture.pass(30_000, mount, ...nodes)
  for (const id of ids) {
    t.is(copiesOf(nodes, id), 2)
    t.is(copiesOf([away], id), 1)
  }
})

test('emptying is cancelled: what was copied goes again, and the node takes blocks', async t => {
  const { fixture, nodes, mount, ids } = await cluster(['n1', 'n2', 'n3'])
  const leaving = one(t, nodes)
  // The others copy; it does not delete.
  leaving.obedient = false
  drain(fixture, leaving)
  fixture.pass(5000, mount, ...nodes)
  t.deepEqual(drain(fixture, leaving, false).refused, [])
  leaving.obedient = true
  leaving.reattach()
  fixture.pass(20_000, mount, ...nodes)
  for (const id of ids) t.is(copiesOf(nodes, id), 2)
  t.like(
    status(fixture).nodes.find(({ id }) => id === leaving.node),
    { draining: false },
  )
  t.is(status(fixture).health, 'ok')
})

test('emptying is refused where the copies could not be kept', async t => {
  const { fixture, nodes } = await cluster(['n1', 'n2'])
  const leaving = one(t, nodes)
  const { refused } = drain(fixture, leaving)
  t.regex(refused.join(), /2 copies are wanted of what is on it, only 1 other/)
  t.like(
    status(fixture).nodes.find(({ id }) => id === leaving.node),
    { draining: false },
  )
})

test('a dead node is removed if nothing is lost by it, else only if that is wanted', async t => {
  const { fixture, nodes, mount, ids } = await cluster(['n1', 'n2', 'n3'], {}, { copies: 1, minCopies: 1 })
  const dead = one(t, nodes)
  const others = nodes.slice(1)
  const lost = ids.filter(id => copiesOf([dead], id) === 1)
  t.true(lost.length > 0)
  dead.lose()
  fixture.pass(10_000, mount, ...others)
  const refusal = remove(fixture, dead)
  t.is(refusal.blocksLost, BigInt(lost.length))
  t.regex(refusal.refused, /no other chunkserver that is up has a good copy/)
  t.regex(Buffer.from(refusal.files[0]?.path ?? []).toString(), /^\/f\d+$/)
  t.like(status(fixture), { health: 'down' })
  t.is(damaged(fixture).blocks.filter(block => !block.lost).length, lost.length)
  t.is(remove(fixture, dead, true).refused, '')
  const found = damaged(fixture).blocks
  t.is(found.filter(block => block.lost).length, lost.length)
  t.true(found.every(({ files }) => files.length === 1 && files[0]?.length === 1000n))
  const again = await cluster(['n1', 'n2', 'n3'])
  const harmless = one(t, again.nodes)
  harmless.lose()
  t.is(remove(again.fixture, harmless).refused, '')
  again.fixture.pass(10_000, again.mount, ...again.nodes.slice(1))
  for (const id of again.ids) t.is(copiesOf(again.nodes.slice(1), id), 2)
})

test('after a restart nothing is repaired or removed before enough nodes have reported', async t => {
  const { fixture, nodes, mount, ids } = await cluster(['n1', 'n2', 'n3', 'n4'], {
    repairDelayMs: 1000,
    safeModeMs: 20_000,
    condemnedMs: 0,
  })
  mount.call(unlink('f0'), 'remove')
  const gone = one(t, ids)
  const missing = one(t, nodes)
  fixture.restart()
  const [first, ...rest] = nodes.slice(1)
  if (first === undefined) return
  first.reattach()
  fixture.pass(30_000, first)
  t.regex(status(fixture).safeMode, /1 of 4 chunkservers have reported.*before 2 have/)
  t.regex(status(fixture).reasons.join(), /safe mode/)
  t.is(copiesOf(nodes, gone), 2)
  t.is(fixture.logs.filter(line => /copy/.test(line)).length, 0)
  const copies = ids.map(id => copiesOf(nodes, id))
  t.true(copies.every(count => count === 2))
  for (const node of rest) node.reattach()
  fixture.pass(20_000, ...nodes.slice(1))
  t.is(status(fixture).safeMode, '')
  t.is(copiesOf(nodes.slice(1), gone), 0)
  for (const id of ids.slice(1)) t.is(copiesOf(nodes.slice(1), id), 2)
  t.true(missing.blocks.size > 0)
})

test('a node that stopped in order is waited for longer, and starts no storm', async t => {
  const { fixture, nodes, mount, ids } = await cluster(['n1', 'n2', 'n3'])
  const [stopped, ...others] = nodes
  if (stopped === undefined) return
  stopped.up({ $case: 'goodbye', value: {} })
  fixture.pass(40_000, mount, ...others)
  t.true(ids.some(id => copiesOf(others, id) === 1))
  t.regex(status(fixture).reasons.join(), /is down, stopped in order: its copies are made anew in \d+ s/)
  stopped.reattach()
  fixture.pass(2000, mount, ...nodes)
  t.is(status(fixture).health, 'ok')
  stopped.up({ $case: 'goodbye', value: {} })
  fixture.pass(70_000, mount, ...others)
  for (const id of ids) t.is(copiesOf(others, id), 2)
})

test('bad copies are bad also after a restart of the master; a block without a good one is listed with its file', async t => {
  const { fixture, nodes, mount, ids } = await cluster(['n1', 'n2'], {}, { copies: 2, minCopies: 1 }, 3)
  const id = one(t, ids, 1)
  for (const node of nodes) node.obedient = false
  for (const node of nodes)
    node.up({
      $case: 'damaged',
      value: { id, generation: node.blocks.get(id.toString('hex'))?.generation ?? 0n, what: 'rotten' },
    })
  fixture.restart()
  for (const node of nodes) node.reattach()
  const { blocks } = damaged(fixture)
  t.is(blocks.length, 1)
  t.true(blocks[0]?.lost)
  t.deepEqual(
    blocks[0]?.copies.map(({ what }) => what),
    ['rotten', 'rotten'],
  )
  t.deepEqual(
    blocks[0]?.files.map(({ path, offset, length }) => [Buffer.from(path).toString(), offset, length]),
    [['/f1', 0n, 1000n]],
  )
  // What was said to be bad proves right when it is read once more.
  for (const node of nodes) {
    node.obedient = true
    node.reattach()
  }
  fixture.pass(20_000, mount, ...nodes)
  t.deepEqual(damaged(fixture).blocks, [])
  t.deepEqual(fixture.store.badCopies.all(), [])
})

test('the copies of a disk that fails are made elsewhere, and it counts again when it works', async t => {
  const { fixture, nodes, mount, ids } = await cluster(['n1', 'n2', 'n3'])
  const [failing, ...others] = nodes
  if (failing === undefined) return
  const had = failing.blocks.size
  failing.failing = true
  fixture.pass(2000, mount, ...nodes)
  t.is(status(fixture).nodes.find(({ id }) => id === failing.node)?.state, 'failing')
  t.regex(status(fixture).reasons.join(), /out of service, its disk fails/)
  fixture.pass(15_000, mount, ...nodes)
  for (const id of ids) t.is(copiesOf(others, id), 2)
  t.is(failing.blocks.size, had, 'nothing is deleted from it')
  failing.failing = false
  fixture.pass(15_000, mount, ...nodes)
  for (const id of ids) t.is(copiesOf(nodes, id), 2)
  t.is(status(fixture).health, 'ok')
})

test('copies that share a machine or a zone move apart when they can', async t => {
  const fixture = await EngineFixture.make({}, { copies: 2, minCopies: 1 })
  const nodes = [new ChunkNode(fixture, 'd1', 'm1'), new ChunkNode(fixture, 'd2', 'm1')]
  const mount = new Mount(fixture, { host: 'elsewhere' })
  const ids = Array.from({ length: 10 }, (_, index) =>
    writeFile(mount, nodes, makeFile(mount, `f${String(index)}`), `content ${String(index)}`),
  )
  for (const node of nodes) node.tell()
  t.is(status(fixture).health, 'ok')
  t.regex(status(fixture).notes.join(), /share a machine: 2 copies wanted, 1 machine/)
  const other = new ChunkNode(fixture, 'd3', 'm2')
  fixture.pass(10_000, mount, ...nodes, other)
  for (const id of ids) {
    t.is(copiesOf([...nodes, other], id), 2)
    t.is(copiesOf([other], id), 1, 'one on each machine')
  }
  t.is(repair(fixture).get('misplaced'), 0n)
  t.deepEqual(status(fixture).notes, [])
})

test('blocks move to a node that was added, on an operator’s word', async t => {
  const { fixture, nodes, mount, ids } = await cluster(['n1', 'n2'], {}, { copies: 1, minCopies: 1 }, 60)
  const total = BigInt(120 * KiB)
  const used = (node: ChunkNode): void => {
    node.totalBytes = total
    node.usedBytes = BigInt(node.blocks.size * 1000)
  }
  const added = new ChunkNode(fixture, 'n3')
  const all = [...nodes, added]
  const pass = (ms: number): void => {
    for (let passed = 0; passed < ms; passed += 250) {
      all.forEach(used)
      fixture.pass(250, mount, ...all)
    }
  }
  const rebalance = (action: admin.RebalanceRequest_Action): admin.RebalanceReply =>
    ask(fixture, 'rebalance', admin.RebalanceRequest, admin.RebalanceReply, { action })
  pass(5000)
  t.is(added.blocks.size, 0, 'nothing moves by itself')
  t.true(rebalance(admin.RebalanceRequest_Action.ACTION_START).running)
  pass(30_000)
  for (const node of all) t.true(Math.abs(node.blocks.size - 20) <= 4, `${String(node.blocks.size)} blocks`)
  for (const id of ids) t.is(copiesOf(all, id), 1)
  t.like(rebalance(admin.RebalanceRequest_Action.ACTION_UNSPECIFIED), { running: false, bytesLeft: 0n })
})

test('blocks of a dedup domain are never copied to a chunkserver of an older version, until it is updated', async t => {
  const { fixture, nodes, mount, ids } = await cluster(['n1', 'n2'])
  const [plain, own] = [ids.slice(0, 10), ids.slice(10)]
  const inDomain = fixture.store.db.prepare('UPDATE blocks SET domain = zeroblob(16) WHERE id = ?')
  for (const id of own) inDomain.run(id)
  const old = new ChunkNode(fixture, 'n3')
  old.speak(wireVersionDomains - 1)
  const all = [...nodes, old]
  const leaving = one(t, nodes)
  t.deepEqual(drain(fixture, leaving).refused, [])
  fixture.pass(20_000, mount, ...all)
  for (const id of plain) t.is(copiesOf([old], id), 1)
  for (const id of own) {
    t.is(copiesOf([old], id), 0)
    t.is(copiesOf(nodes, id), 2, 'it stays where it is')
  }
  old.speak(wireVersionDomains)
  fixture.pass(20_000, mount, ...all)
  for (const id of own) t.is(copiesOf([old], id), 1)
  t.is(leaving.blocks.size, 0)
})
