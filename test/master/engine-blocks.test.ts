import test from 'ava'
import { errno } from '#src/core/errors.ts'
import { SetCopiesRequest, StatusReply, StatusRequest } from '#src/wire/gen/cairn/v1/admin.ts'
import { ChunkNode, EngineFixture, Mount, type Op, sha } from './engine-fixture.ts'
import { commit, makeFile, plan, unlink, writeFile } from './engine-ops.ts'

const copiesOf = (nodes: readonly ChunkNode[], id: Buffer): number =>
  nodes.filter(node => node.blocks.has(id.toString('hex'))).length

const status = (fixture: EngineFixture): StatusReply =>
  StatusReply.decode(fixture.admin('status', StatusRequest.encode({}).finish()).bytes ?? new Uint8Array(0))

const nodesOf = (fixture: EngineFixture, ...names: string[]): ChunkNode[] =>
  names.map(name => new ChunkNode(fixture, name))

test('a node keeps its id over restarts; copies, strangers and other clusters are refused', async t => {
  const fixture = await EngineFixture.make()
  const [node] = nodesOf(fixture, 'n1')
  if (node === undefined) return
  const id = node.node
  // It never heard of its id: the store tells who it is.
  node.node = 0n
  node.reattach()
  t.is(node.node, id)
  const older = new ChunkNode(fixture, 'n1')
  t.like(older.items[0], { $case: 'refused' })
  t.is(node.closed, undefined, 'the right one stays')
  const exchanged = new ChunkNode(fixture, 'n2')
  exchanged.node = id
  exchanged.reattach()
  t.like(exchanged.items[0], { $case: 'refused' })
  node.lose()
  node.closed = undefined
  node.connection = fixture.open('node', node)
  node.register(Buffer.alloc(16, 1))
  t.like(node.items[0], { $case: 'refused' })
})

test('changes are applied once and acknowledged; a block that no commit names is a stray', async t => {
  const fixture = await EngineFixture.make()
  const nodes = nodesOf(fixture, 'n1', 'n2', 'n3')
  const mount = new Mount(fixture)
  const ino = makeFile(mount, 'f')
  const id = writeFile(mount, nodes, ino, 'one')
  const stray = sha('never committed')
  for (const target of mount.call(plan(ino, stray, 10), 'plan').blocks[0]?.targets ?? [])
    nodes.find(node => node.node === target.node)?.put(target, stray, 10)
  for (const node of nodes) {
    node.tell()
    t.is(node.unacked.length, 0)
    t.is(fixture.store.nodes.find(node.node)?.knownSequence, 2n)
  }
  t.is(fixture.store.blocks.owner(id)?.have, 3)
  t.is(fixture.store.blocks.owner(stray), undefined)
  fixture.pass(1000, mount, ...nodes)
  t.is(copiesOf(nodes, stray), 3, 'a receipt may still come')
  fixture.pass(700_000, mount, ...nodes)
  t.is(copiesOf(nodes, stray), 0)
  t.is(copiesOf(nodes, id), 3)
})

test('changes that come again, or after a gap, change nothing twice', async t => {
  const fixture = await EngineFixture.make()
  const [node] = nodesOf(fixture, 'n1')
  if (node === undefined) return
  const change = (removed: boolean) => ({ id: sha('x'), generation: 1n, length: 5, removed })
  const strays = (): number => fixture.store.strays.olderThan(node.node as never, 1n << 62n, 10).length
  node.up({ $case: 'changes', value: { first: 1n, changes: [change(false)] } })
  t.is(strays(), 1)
  node.up({ $case: 'changes', value: { first: 2n, changes: [change(true)] } })
  node.up({ $case: 'changes', value: { first: 1n, changes: [change(false)] } })
  t.is(strays(), 0)
  t.is(fixture.store.nodes.find(node.node)?.knownSequence, 2n)
  node.up({ $case: 'changes', value: { first: 10n, changes: [change(false)] } })
  t.is(fixture.store.nodes.find(node.node)?.knownSequence, 10n)
  t.true(fixture.logs.includes('warn changes of a node are missing'))
  node.items = []
  fixture.step({ kind: 'tick' })
  t.true(
    node.items.some(item => item.$case === 'askDigest'),
    'what they were is found by comparing',
  )
})

test('a receipt whose grant has expired is refused, since its block may be gone', async t => {
  const fixture = await EngineFixture.make({ grantMs: 5000 })
  const nodes = nodesOf(fixture, 'n1', 'n2', 'n3')
  const mount = new Mount(fixture)
  const ino = makeFile(mount, 'f')
  const id = sha('slow')
  const targets = mount.call(plan(ino, id, 10), 'plan').blocks[0]?.targets ?? []
  const receipts = targets.flatMap(target => {
    const node = nodes.find(other => other.node === target.node)
    return node === undefined ? [] : [node.put(target, id, 10)]
  })
  fixture.pass(6000, mount, ...nodes)
  t.deepEqual(mount.call(commit(ino, { key: 0n, id, length: 10, receipts }), 'commit').again, [0])
})

test('an unreferenced block goes after its grace, unless it is pinned, referred to again or a node fails', async t => {
  const fixture = await EngineFixture.make({ condemnedMs: 10_000, pinMs: 60_000 })
  const nodes = nodesOf(fixture, 'n1', 'n2', 'n3')
  const mount = new Mount(fixture)
  const ids = ['gone', 'pinned', 'revived'].map(content =>
    writeFile(mount, nodes, makeFile(mount, content), content),
  )
  const [gone, pinned, revived] = ids
  if (gone === undefined || pinned === undefined || revived === undefined) return
  for (const name of ['gone', 'pinned', 'revived']) mount.call(unlink(name), 'remove')
  fixture.pass(8000, mount, ...nodes)
  t.is(copiesOf(nodes, gone), 3)
  const target = makeFile(mount, 'other')
  const key = mount.call(plan(target, revived, 1000), 'plan').blocks[0]?.key ?? 0n
  t.not(key, 0n, 'a condemned block is a dedup hit')
  t.deepEqual(
    mount.call(commit(target, { key, id: revived, length: 1000, receipts: [] }), 'commit').again,
    [],
  )
  const pinnedKey = mount.call(plan(target, pinned, 1000), 'plan').blocks[0]?.key ?? 0n
  fixture.pass(5000, mount, ...nodes)
  t.is(copiesOf(nodes, gone), 0)
  t.is(fixture.store.blocks.owner(gone), undefined)
  t.is(copiesOf(nodes, revived), 3)
  t.is(copiesOf(nodes, pinned), 3)
  const stored = { key: pinnedKey, id: pinned, length: 1000, receipts: [] }
  t.deepEqual(mount.call(commit(target, stored), 'commit').again, [])
  t.is(status(fixture).blocks?.total, 1n, 'the second commit replaced the first')
})

test('blocks whose node is away do not keep later ones from going on other nodes', async t => {
  const fixture = await EngineFixture.make({ rowsPerTick: 10, condemnedMs: 1000, pinMs: 1000 })
  const nodes = nodesOf(fixture, 'n1', 'n2', 'n3')
  const [first, second, third] = nodes
  if (first === undefined || second === undefined || third === undefined) return
  const mount = new Mount(fixture)
  const names = Array.from({ length: 30 }, (_, index) => `f${index}`)
  for (const name of names) writeFile(mount, nodes, makeFile(mount, name), name)
  third.lose()
  const up = [first, second]
  for (const name of names) mount.call(unlink(name), 'remove')
  fixture.pass(60_000, mount, ...up)
  t.deepEqual([first.blocks.size, second.blocks.size, third.blocks.size], [0, 0, 30])
  writeFile(mount, up, makeFile(mount, 'later'), 'later')
  mount.call(unlink('later'), 'remove')
  fixture.pass(60_000, mount, ...up)
  t.deepEqual([first.blocks.size, second.blocks.size], [0, 0])
  third.reattach()
  fixture.pass(60_000, mount, ...nodes)
  t.is(third.blocks.size, 0)
})

test('a block that is being deleted is a new block for who writes it again, and no late delete hits it', async t => {
  const fixture = await EngineFixture.make({ condemnedMs: 1000 })
  const nodes = nodesOf(fixture, 'n1', 'n2', 'n3')
  const [slow] = nodes
  const mount = new Mount(fixture)
  const id = writeFile(mount, nodes, makeFile(mount, 'a'), 'content')
  if (slow === undefined) return
  slow.obedient = false
  mount.call(unlink('a'), 'remove')
  fixture.pass(3000, mount, ...nodes)
  t.is(copiesOf(nodes, id), 1, 'the slow node still has it')
  const late = slow.items.splice(0)
  t.true(late.some(item => item.$case === 'delete'))
  slow.obedient = true
  // The same content again: put anew, also on the node with the order in its queue.
  writeFile(mount, nodes, makeFile(mount, 'b'), 'content')
  t.is(copiesOf(nodes, id), 3)
  slow.items.push(...late)
  slow.obey()
  for (const node of nodes) node.tell()
  fixture.pass(5000, mount, ...nodes)
  t.is(copiesOf(nodes, id), 3)
  t.is(fixture.store.blocks.owner(id)?.have, 3)
  t.is(fixture.store.blocks.deletingAfter(undefined, 10).length, 0)
})

test('an error stops the removal on its node, visibly, until it attaches again', async t => {
  const fixture = await EngineFixture.make({ condemnedMs: 1000 })
  const nodes = nodesOf(fixture, 'n1', 'n2', 'n3')
  const [bad] = nodes
  const mount = new Mount(fixture)
  const first = writeFile(mount, nodes, makeFile(mount, 'a'), 'first')
  const second = writeFile(mount, nodes, makeFile(mount, 'b'), 'second')
  if (bad === undefined) return
  bad.failDeletes = true
  mount.call(unlink('a'), 'remove')
  fixture.pass(3000, mount, ...nodes)
  mount.call(unlink('b'), 'remove')
  bad.failDeletes = false
  fixture.pass(3000, mount, ...nodes)
  t.is(copiesOf([bad], first) + copiesOf([bad], second), 2)
  t.regex(status(fixture).reasons.join(), /cannot delete: bad disk/)
  bad.reattach()
  fixture.pass(3000, mount, ...nodes)
  t.is(copiesOf(nodes, first) + copiesOf(nodes, second), 0)
  t.is(status(fixture).health, 'ok')
})

test('nothing is removed while a session may still reclaim, or after the clock jumped ahead', async t => {
  const fixture = await EngineFixture.make({ condemnedMs: 1000, leaseMs: 8000, leaseMarginMs: 100 })
  const nodes = nodesOf(fixture, 'n1', 'n2', 'n3')
  const mount = new Mount(fixture)
  const id = writeFile(mount, nodes, makeFile(mount, 'a'), 'content')
  mount.call(unlink('a'), 'remove')
  fixture.restart()
  for (const node of nodes) node.reattach()
  fixture.pass(6000, ...nodes)
  t.is(copiesOf(nodes, id), 3)
  fixture.pass(4000, ...nodes)
  t.is(copiesOf(nodes, id), 0)
  const again = new Mount(fixture)
  const kept = writeFile(again, nodes, makeFile(again, 'b'), 'more')
  again.call(unlink('b'), 'remove')
  fixture.wallOffset += 3_600_000_000_000n
  fixture.pass(750, again, ...nodes)
  t.is(copiesOf(nodes, kept), 3)
  fixture.pass(2000, again, ...nodes)
  t.is(copiesOf(nodes, kept), 0)
})

test('a dead node shows at once, its blocks are copied elsewhere after a while, and too many copies go when it is back', async t => {
  const fixture = await EngineFixture.make({ repairDelayMs: 5000, condemnedMs: 1000, grantMs: 2000 })
  const nodes = nodesOf(fixture, 'n1', 'n2', 'n3', 'n4')
  const mount = new Mount(fixture)
  const ids = Array.from({ length: 20 }, (_, index) =>
    writeFile(mount, nodes, makeFile(mount, `f${index}`), `content ${index}`),
  )
  for (const node of nodes) node.tell()
  t.is(status(fixture).health, 'ok')
  const [dead, ...others] = nodes
  if (dead === undefined) return
  const lost = ids.filter(id => dead.blocks.has(id.toString('hex'))).length
  t.true(lost > 0)
  dead.lose()
  fixture.pass(1000, mount, ...others)
  t.like(status(fixture), { health: 'degraded', blocks: { underReplicated: BigInt(lost) } })
  for (const id of ids) t.true(copiesOf(others, id) <= 3)
  t.true(
    ids.some(id => copiesOf(others, id) === 2),
    'not copied yet: it may just restart',
  )
  fixture.pass(20_000, mount, ...others)
  for (const id of ids) t.is(copiesOf(others, id), 3)
  t.like(status(fixture), { blocks: { underReplicated: 0n, missing: 0n } })
  dead.reattach()
  fixture.pass(20_000, mount, ...nodes)
  for (const id of ids) t.is(copiesOf(nodes, id), 3)
  t.is(status(fixture).health, 'ok')
})

test('fewer copies than wanted are accepted as degraded and repaired at once', async t => {
  const fixture = await EngineFixture.make()
  const nodes = nodesOf(fixture, 'n1', 'n2', 'n3')
  const [first, second] = nodes
  const mount = new Mount(fixture)
  if (first === undefined || second === undefined) return
  const id = writeFile(mount, nodes, makeFile(mount, 'a'), 'content', [first, second])
  t.like(status(fixture), { health: 'degraded', blocks: { underReplicated: 1n } })
  fixture.pass(2000, mount, ...nodes)
  t.is(copiesOf(nodes, id), 3)
  t.is(status(fixture).health, 'ok')
})

test('an inventory that differs is resolved: what a node lost is copied anew, what it has beyond is a stray', async t => {
  const fixture = await EngineFixture.make({ inventoryMs: 5000, grantMs: 2000 })
  const nodes = nodesOf(fixture, 'n1', 'n2', 'n3')
  const [node] = nodes
  const mount = new Mount(fixture)
  const ids = Array.from({ length: 30 }, (_, index) =>
    writeFile(mount, nodes, makeFile(mount, `f${index}`), `content ${index}`),
  )
  for (const other of nodes) other.tell()
  const [lost] = ids
  if (node === undefined || lost === undefined) return
  node.forget(lost)
  const surplus = sha('from nowhere')
  node.blocks.set(surplus.toString('hex'), { generation: 1n, length: 77 })
  fixture.pass(8000, mount, ...nodes)
  t.true(fixture.logs.includes('warn a copy is lost'))
  t.is(copiesOf(nodes, lost), 3)
  t.is(fixture.store.blocks.owner(lost)?.have, 3)
  fixture.pass(20_000, mount, ...nodes)
  t.is(copiesOf(nodes, surplus), 0)
  const differs = fixture.logs.filter(line => line === 'info inventory differs').length
  fixture.pass(20_000, mount, ...nodes)
  t.is(fixture.logs.filter(line => line === 'info inventory differs').length, differs, 'all agree now')
})

test('a part of an inventory that changes while it is compared is listed: a node counts as compared after that only', async t => {
  const fixture = await EngineFixture.make({ inventoryMs: 1e9, rowsPerTick: 1 }, { copies: 2, minCopies: 1 })
  const nodes = nodesOf(fixture, 'n1', 'n2')
  const [node] = nodes
  const mount = new Mount(fixture)
  const ids = Array.from({ length: 20 }, (_, index) =>
    writeFile(mount, nodes, makeFile(mount, `f${index}`), `content ${index}`),
  )
  for (const other of nodes) other.tell()
  // The last of four parts is compared last.
  const [lost, touching] = ids.filter(id => (id[0] ?? 0) >= 0xc0)
  if (node === undefined || lost === undefined || touching === undefined) return t.fail()
  const compared = (): boolean | undefined =>
    status(fixture).nodes.find(({ id }) => id === node.node)?.compared
  node.forget(lost)
  node.obedient = false
  node.reattach()
  t.false(compared())
  while (!node.items.some(item => item.$case === 'askDigest')) fixture.step({ kind: 'tick' })
  node.obedient = true
  node.obey()
  t.false(compared())
  node.forget(touching)
  node.keep(touching, 1000, { generation: 9n, session: 1n, epoch: 1n, expiry: 1n })
  node.tell()
  fixture.pass(5000, mount, ...nodes)
  t.true(compared())
  t.true(fixture.logs.includes('warn a copy is lost'))
  t.is(copiesOf(nodes, lost), 2)
})

test('an inventory older than a receipt does not undo it', async t => {
  const fixture = await EngineFixture.make({ inventoryMs: 2000 })
  const nodes = nodesOf(fixture, 'n1', 'n2', 'n3')
  const mount = new Mount(fixture)
  writeFile(mount, nodes, makeFile(mount, 'a'), 'told')
  for (const node of nodes) node.tell()
  const [node] = nodes
  if (node === undefined) return
  // The digest as of the told change, while the next put's receipt is committed already.
  const before = new Map(node.blocks)
  const id = writeFile(mount, nodes, makeFile(mount, 'b'), 'not told')
  const { sequence } = node
  const now = new Map(node.blocks)
  node.blocks.clear()
  for (const [key, value] of before) node.blocks.set(key, value)
  node.sequence = 1n
  fixture.pass(3000, mount, ...nodes)
  t.false(fixture.logs.includes('warn a copy is lost'))
  t.is(fixture.store.blocks.owner(id)?.have, 3)
  node.sequence = sequence
  for (const [key, value] of now) node.blocks.set(key, value)
  node.tell()
  fixture.pass(3000, mount, ...nodes)
  t.is(fixture.store.blocks.owner(id)?.have, 3)
})

test('a listing older than the deletion of a surplus copy does not make it a copy again', async t => {
  const fixture = await EngineFixture.make({ inventoryMs: 2000 }, { copies: 3, minCopies: 1 })
  const nodes = nodesOf(fixture, 'n1', 'n2', 'n3')
  const mount = new Mount(fixture)
  const ino = makeFile(mount, 'a')
  const id = writeFile(mount, nodes, ino, 'content')
  for (const node of nodes) {
    node.tell()
    node.hesitant = true
  }
  fixture.admin('setCopies', SetCopiesRequest.encode({ ino, copies: 2, recursive: false }).finish())
  const have = (): number | undefined => fixture.store.blocks.owner(id)?.have
  fixture.pass(1000, mount, ...nodes)
  t.is(have(), 2)
  t.is(copiesOf(nodes, id), 3, 'the order is not carried out')
  // Digests and listings that still have it.
  fixture.pass(5000, mount, ...nodes)
  t.true(fixture.logs.includes('info inventory differs'))
  t.is(have(), 2)
  t.is(nodes.flatMap(node => node.deletes).length, 1, 'nothing is surplus by that')
  for (const node of nodes) {
    node.hesitant = false
    node.carryOut()
  }
  fixture.pass(5000, mount, ...nodes)
  t.is(copiesOf(nodes, id), 2)
  t.is(have(), 2)
})

test('what a disk that was put back never told is lost, and copied anew', async t => {
  const fixture = await EngineFixture.make({ inventoryMs: 2000 }, { copies: 2, minCopies: 1 })
  const nodes = nodesOf(fixture, 'n1', 'n2', 'n3')
  const mount = new Mount(fixture)
  const id = writeFile(mount, nodes, makeFile(mount, 'a'), 'content')
  const back = nodes.find(node => node.blocks.has(id.toString('hex')))
  if (back === undefined) return
  back.forget(id)
  back.unacked.length = 0
  back.sequence = 0n
  back.reattach()
  t.is(fixture.store.blocks.owner(id)?.have, 2)
  fixture.pass(5000, mount, ...nodes)
  t.true(fixture.logs.includes('warn a copy is lost'))
  t.is(copiesOf(nodes, id), 2)
})

test('a copy that is found bad while nobody wants its block is replaced when somebody does again', async t => {
  const fixture = await EngineFixture.make({}, { copies: 2, minCopies: 1 })
  const nodes = nodesOf(fixture, 'n1', 'n2', 'n3')
  const mount = new Mount(fixture)
  const id = writeFile(mount, nodes, makeFile(mount, 'a'), 'content')
  for (const node of nodes) node.tell()
  mount.call(unlink('a'), 'remove')
  const bad = nodes.find(node => node.blocks.has(id.toString('hex')))
  const { generation = 0n } = bad?.blocks.get(id.toString('hex')) ?? {}
  bad?.up({ $case: 'damaged', value: { id, generation, what: 'rotten' } })
  fixture.pass(3000, mount, ...nodes)
  t.is(fixture.store.badCopies.all().length, 1)
  const again = makeFile(mount, 'b')
  const key = mount.call(plan(again, id, 1000), 'plan').blocks[0]?.key ?? 0n
  t.not(key, 0n, 'the good copy is there')
  t.deepEqual(mount.call(commit(again, { key, id, length: 1000, receipts: [] }), 'commit').again, [])
  fixture.pass(5000, mount, ...nodes)
  t.deepEqual(fixture.store.badCopies.all(), [])
  t.is(copiesOf(nodes, id), 2)
  t.not(bad?.blocks.get(id.toString('hex'))?.generation, generation)
})

test('a damaged copy is replaced, the last one is kept', async t => {
  const fixture = await EngineFixture.make({}, { copies: 2, minCopies: 1 })
  const nodes = nodesOf(fixture, 'n1', 'n2')
  const mount = new Mount(fixture)
  const id = writeFile(mount, nodes, makeFile(mount, 'a'), 'content')
  for (const node of nodes) node.tell()
  const [bad, good] = nodes
  const generation = bad?.blocks.get(id.toString('hex'))?.generation ?? 0n
  bad?.up({ $case: 'damaged', value: { id, generation, what: 'checksum of piece 3' } })
  good?.up({ $case: 'damaged', value: { id, generation, what: 'checksum of piece 4' } })
  t.is(fixture.store.blocks.owner(id)?.have, 2)
  fixture.pass(15_000, mount, ...nodes)
  t.is(copiesOf(nodes, id), 2)
  t.true((bad?.blocks.get(id.toString('hex'))?.generation ?? 0n) > generation, 'a new instance')
})

test('a damaged copy stays until the block is whole without it', async t => {
  const fixture = await EngineFixture.make()
  const nodes = nodesOf(fixture, 'n1', 'n2', 'n3')
  const mount = new Mount(fixture)
  const id = writeFile(mount, nodes, makeFile(mount, 'a'), 'content')
  for (const node of nodes) node.tell()
  const [bad, away, good] = nodes
  if (bad === undefined || away === undefined || good === undefined) return
  const generationOn = (node: ChunkNode) => node.blocks.get(id.toString('hex'))?.generation ?? 0n
  const before = generationOn(bad)
  away.lose()
  good.obedient = bad.obedient = false
  bad.up({ $case: 'damaged', value: { id, generation: before, what: 'checksum of piece 3' } })
  fixture.pass(3000, mount, good, bad)
  t.deepEqual(
    bad.items.filter(({ $case }) => $case === 'delete' || $case === 'copy').map(({ $case }) => $case),
    ['copy'],
    'it is replaced in its place',
  )
  t.is(status(fixture).blocks?.underReplicated, 1n)
  good.obedient = bad.obedient = true
  fixture.pass(3000, mount, good, bad)
  t.true(generationOn(bad) > before)
  away.reattach()
  fixture.pass(3000, mount, ...nodes)
  t.is(status(fixture).blocks?.underReplicated, 0n)
  const fourth = new ChunkNode(fixture, 'n4')
  good.up({ $case: 'damaged', value: { id, generation: generationOn(good), what: 'checksum of piece 1' } })
  fixture.pass(20_000, mount, ...nodes, fourth)
  t.is(copiesOf([...nodes, fourth], id), 3)
  t.is(fixture.store.blocks.owner(id)?.have, 3)
})

/** Eight blocks on two nodes, one of which says that all of its copies are bad, and carries out no order to delete them. */
function withRottenNode(fixture: EngineFixture) {
  const bad = new ChunkNode(fixture, 'n1')
  const nodes = [bad, new ChunkNode(fixture, 'n2')]
  const mount = new Mount(fixture)
  const ids = Array.from({ length: 8 }, (_, index) =>
    writeFile(mount, nodes, makeFile(mount, `f${index}`), `content ${index}`),
  )
  for (const node of nodes) node.tell()
  bad.hesitant = true
  for (const id of ids) {
    const { generation = 0n } = bad.blocks.get(id.toString('hex')) ?? {}
    bad.up({ $case: 'damaged', value: { id, generation, what: 'rotten' } })
  }
  return { nodes, mount, ids, bad }
}

test('a bad copy whose node goes before it has deleted it does not count when it is back', async t => {
  const fixture = await EngineFixture.make({}, { copies: 2, minCopies: 1 })
  const { nodes, mount, ids, bad } = withRottenNode(fixture)
  const all = [...nodes, new ChunkNode(fixture, 'n3')]
  const generations = ids.map(id => bad.blocks.get(id.toString('hex'))?.generation ?? 0n)
  fixture.pass(20_000, mount, ...all)
  t.true(bad.deletes.length > 0)
  t.true(fixture.store.badCopies.all().length > 0)
  bad.lose()
  bad.deletes.length = 0
  bad.hesitant = false
  bad.reattach()
  fixture.pass(30_000, mount, ...all)
  for (const [index, id] of ids.entries()) {
    t.is(copiesOf(all, id), 2)
    // Where it was replaced in its place it is another one.
    t.not(bad.blocks.get(id.toString('hex'))?.generation, generations[index])
  }
  t.deepEqual(fixture.store.badCopies.all(), [])
})

test('a bad copy that its node still has when the block is removed is no copy of the same content, written again', async t => {
  const fixture = await EngineFixture.make({ condemnedMs: 5000 }, { copies: 2, minCopies: 1 })
  const { nodes, mount, ids, bad } = withRottenNode(fixture)
  const others = [...nodes.slice(1), new ChunkNode(fixture, 'n3')]
  const generationOf = (id: Buffer): bigint | undefined => bad.blocks.get(id.toString('hex'))?.generation
  fixture.pass(20_000, mount, bad, ...others)
  const rotten = new Set(fixture.store.badCopies.all().map(({ block }) => block))
  const left = ids.filter(id => rotten.has(fixture.store.blocks.owner(id)?.key as never))
  t.true(left.length > 0)
  const generations = left.map(generationOf)
  bad.lose()
  bad.deletes.length = 0
  for (const index of ids.keys()) mount.call(unlink(`f${index}`), 'remove')
  fixture.pass(20_000, mount, ...others)
  for (const id of left) t.is(fixture.store.blocks.owner(id), undefined)
  for (const [index, id] of ids.entries())
    if (left.includes(id))
      t.deepEqual(writeFile(mount, others, makeFile(mount, `g${index}`), `content ${index}`), id)
  bad.hesitant = false
  bad.reattach()
  fixture.pass(1000, mount, bad, ...others)
  for (const [index, id] of left.entries()) {
    const key = fixture.store.blocks.owner(id)?.key
    t.not(key, undefined)
    const known = fixture.store.replicas.generationOn(key as never, bad.node as never)
    t.true(known === undefined || known !== generations[index])
  }
  fixture.pass(20_000, mount, bad, ...others)
  for (const [index, id] of left.entries()) t.not(generationOf(id), generations[index], 'it was deleted')
  t.deepEqual(fixture.store.badCopies.all(), [])
})

test('content whose copies are all damaged is put again by who writes it again', async t => {
  const fixture = await EngineFixture.make({}, { copies: 2, minCopies: 1 })
  const nodes = nodesOf(fixture, 'n1', 'n2')
  const mount = new Mount(fixture)
  const id = writeFile(mount, nodes, makeFile(mount, 'a'), 'content')
  const again = plan(makeFile(mount, 'b'), id, 1000)
  const targets = (): number => mount.call(again, 'plan').blocks[0]?.targets.length ?? 0
  t.is(targets(), 0, 'it is there')
  for (const { node } of nodes)
    mount.call({ $case: 'reportDamage', value: { id, node, what: 'checksum' } }, 'done')
  t.is(targets(), 2, 'nobody relies on what cannot be read')
  writeFile(mount, nodes, makeFile(mount, 'c'), 'content')
  t.is(targets(), 0, 'it is there again')
  t.is(fixture.store.blocks.owner(id)?.have, 2)
})

test('without room it is ENOSPC, without nodes EIO; space is granted once', async t => {
  const fixture = await EngineFixture.make()
  const mount = new Mount(fixture)
  const ino = makeFile(mount, 'f')
  t.is(mount.errno(plan(ino, sha('x'), 1000)), errno.EIO)
  const nodes = nodesOf(fixture, 'n1', 'n2', 'n3')
  for (const node of nodes) {
    node.totalBytes = 1_000_000n
    node.beat()
  }
  const granted = mount.call({ $case: 'reserveSpace', value: { bytes: 1_800_000n } }, 'reserveSpace').bytes
  t.is(granted, 1_800_000n, 'counted with all copies')
  const other = new Mount(fixture)
  t.is(other.call({ $case: 'reserveSpace', value: { bytes: 1_800_000n } }, 'reserveSpace').bytes, 825_000n)
  const third = new Mount(fixture)
  t.is(third.errno({ $case: 'reserveSpace', value: { bytes: 3n } }), errno.ENOSPC)
  mount.up({ $case: 'goodbye', value: {} })
  t.is(third.call({ $case: 'reserveSpace', value: { bytes: 3000n } }, 'reserveSpace').bytes, 3000n)
  for (const node of nodes) {
    node.totalBytes = 100n
    node.beat()
  }
  t.is(third.errno(plan(ino, sha('x'), 1000)), errno.ENOSPC)
})

const small = (fixture: EngineFixture): ChunkNode[] => {
  const nodes = nodesOf(fixture, 'n1', 'n2', 'n3')
  for (const node of nodes) {
    node.totalBytes = 16_000n
    node.beat()
  }
  return nodes
}
const grantOf = (mount: Mount): bigint =>
  mount.call({ $case: 'reserveSpace', value: { bytes: 1n << 40n } }, 'reserveSpace').bytes

/** Plans a block of 7000 bytes and puts it on all of its targets. */
function putSome(mount: Mount, nodes: readonly ChunkNode[], ino: bigint, content: string): () => void {
  const id = sha(content)
  const targets = mount.call(plan(ino, id, 7000), 'plan').blocks[0]?.targets ?? []
  const receipts = targets.flatMap(
    target => nodes.find(({ node }) => node === target.node)?.put(target, id, 7000) ?? [],
  )
  return () => mount.call(commit(ino, { key: 0n, id, length: 7000, receipts }), 'commit')
}

test('what was granted finds its room, though a node reports between a store and its commit', async t => {
  const fixture = await EngineFixture.make()
  const nodes = small(fixture)
  const mount = new Mount(fixture)
  const ino = makeFile(mount, 'f')
  t.is(grantOf(mount), 42_000n)
  for (const [at, content] of ['first', 'second'].entries()) {
    const commitIt = putSome(mount, nodes, ino, content)
    t.is(copiesOf(nodes, sha(content)), 3, content)
    for (const node of nodes) {
      node.usedBytes = BigInt(7000 * (at + 1))
      node.beat()
    }
    commitIt()
  }
})

test('a report that left before a block was stored frees nothing', async t => {
  const fixture = await EngineFixture.make()
  const nodes = small(fixture)
  const mount = new Mount(fixture)
  putSome(mount, nodes, makeFile(mount, 'f'), 'content')()
  t.is(grantOf(mount), 21_000n)
  for (const node of nodes) node.beat()
  t.is(grantOf(mount), 21_000n)
  for (const node of nodes) node.tell()
  t.is(grantOf(mount), 21_000n)
  for (const node of nodes) {
    node.usedBytes = 7000n
    node.beat()
  }
  t.is(grantOf(mount), 21_000n, 'and it counts once')
})

test('content that two wrote at once counts once, also where its nodes tell before the second commit', async t => {
  const fixture = await EngineFixture.make()
  const nodes = small(fixture)
  const mount = new Mount(fixture)
  const commits = ['a', 'b'].map(name => putSome(mount, nodes, makeFile(mount, name), 'content'))
  commits[0]?.()
  for (const node of nodes) node.tell()
  commits[1]?.()
  for (const node of nodes) {
    node.usedBytes = 7000n
    node.beat()
  }
  t.is(grantOf(mount), 21_000n)
})

test('a plan that completes copies counts those that are there', async t => {
  const fixture = await EngineFixture.make()
  const nodes = nodesOf(fixture, 'n1', 'n2', 'n3')
  const mount = new Mount(fixture)
  const ino = makeFile(mount, 'f')
  const [n1, n2, n3] = nodes.map(({ node }) => node)
  nodes[1]?.lose()
  const planned = mount.call(plan(ino, sha('x'), 10, { have: [n1 ?? 0n] }), 'plan').blocks[0]
  t.deepEqual(
    planned?.targets.map(({ node }) => node),
    [n3],
  )
  const whole = mount.call(
    plan(ino, sha('x'), 10, { have: [n1 ?? 0n, n3 ?? 0n], exclude: [n2 ?? 0n] }),
    'plan',
  )
  t.deepEqual(whole.blocks[0]?.targets, [])
  t.is(mount.errno(plan(ino, sha('x'), 10, { exclude: [n3 ?? 0n] })), errno.EAGAIN)
})

test('too few nodes: EAGAIN while others may be back, EIO when they are given up, ENOSPC when they are full', async t => {
  const fixture = await EngineFixture.make({ repairDelayMs: 5000 })
  const nodes = nodesOf(fixture, 'n1', 'n2', 'n3')
  const mount = new Mount(fixture)
  const ino = makeFile(mount, 'f')
  const errorOf = (): number => mount.errno(plan(ino, sha('x'), 10))
  const reserve: Op = { $case: 'reserveSpace', value: { bytes: 1000n } }
  for (const node of nodes.slice(1)) node.lose()
  t.is(errorOf(), errno.EAGAIN)
  t.is(mount.call(reserve, 'reserveSpace').bytes, 999n, 'their room still counts')
  fixture.restart()
  mount.reattach()
  mount.call({ $case: 'reclaim', value: { leases: [], locks: [], last: true } }, 'done')
  t.is(errorOf(), errno.EAGAIN, 'nor have they come since the master began')
  fixture.pass(6000, mount)
  t.is(errorOf(), errno.EIO)
  t.is(mount.errno(reserve), errno.EIO)
  for (const node of nodes) {
    node.failing = true
    node.reattach()
    node.beat()
  }
  t.is(errorOf(), errno.EAGAIN, 'their disks do not answer for a moment')
  fixture.pass(6000, mount, ...nodes)
  t.is(errorOf(), errno.EIO)
  for (const node of nodes) {
    node.failing = false
    node.beat()
  }
  t.is(mount.call(plan(ino, sha('x'), 10), 'plan').blocks[0]?.targets.length, 3)
  for (const node of nodes) {
    node.totalBytes = 1n
    node.reattach()
  }
  t.is(errorOf(), errno.ENOSPC)
  t.is(mount.errno(reserve), errno.ENOSPC)
})
