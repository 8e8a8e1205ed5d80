import test from 'ava'
import { errno } from '#src/core/errors.ts'
import { ChunkNode, EngineFixture, Mount, type Op, sha } from './engine-fixture.ts'
import { create, lookup, unlink } from './engine-ops.ts'

test('a mount attaches, creates a file and gets leases with the answer', async t => {
  const fixture = await EngineFixture.make()
  const mount = new Mount(fixture)
  const reply = mount.reply(create('a'))
  t.is(reply.result?.$case, 'entry')
  const ino = reply.result?.$case === 'entry' ? (reply.result.value.attr?.ino ?? 0n) : 0n
  t.deepEqual(reply.leases, [
    { ino: 1n, kind: 2, alone: true },
    { ino, kind: 2, alone: true },
  ])
  t.is(mount.call(lookup('a'), 'entry').attr?.ino, ino)
  t.is(mount.call(lookup('b'), 'entry').attr, undefined)
})

test('a block is planned, stored, committed and found again, and is a dedup hit after that', async t => {
  const fixture = await EngineFixture.make()
  const nodes = ['n1', 'n2', 'n3', 'n4'].map(host => new ChunkNode(fixture, host))
  const mount = new Mount(fixture, { host: 'n3' })
  const ino = mount.call(create('a'), 'entry').attr?.ino ?? 0n
  const block = sha('content')
  const plan: Op = {
    $case: 'plan',
    value: { ino, blocks: [{ id: block, length: 5000, ino: 0n }], exclude: [], have: [] },
  }
  const planned = mount.call(plan, 'plan')
  const targets = planned.blocks[0]?.targets ?? []
  t.is(targets.length, 3)
  t.is(targets[0]?.node, nodes[2]?.node, "the writer's own host first")
  const receipts = targets.map(target => {
    const node = nodes.find(other => other.node === target.node)
    if (node === undefined) throw new Error('unknown target')
    return node.put(target, block, 5000)
  })
  const commit = (stored: { key?: bigint; receipts?: typeof receipts }): Op => ({
    $case: 'commit',
    value: {
      ino,
      extents: [{ offset: 0n, length: 5000n, block: 0, blockOffset: 0 }],
      blocks: [{ key: 0n, id: block, length: 5000, receipts: [], ...stored }],
      mtime: { now: true, value: 0n },
      atime: undefined,
      killSuidgid: false,
      append: false,
      pages: false,
      time: 0n,
    },
  })
  const [first, ...rest] = receipts
  if (first === undefined) throw new Error('no receipt')
  t.deepEqual(mount.call(commit({ receipts: [first] }), 'commit').again, [0], 'fewer than minCopies')
  const forged = rest.map(receipt => ({ ...receipt, generation: receipt.generation + 1n }))
  t.deepEqual(mount.call(commit({ receipts: [first, ...forged] }), 'commit').again, [0], 'forged')
  t.deepEqual(mount.call(commit({ receipts: [first, first] }), 'commit').again, [0], 'twice the same')
  const done = mount.call(commit({ receipts }), 'commit')
  t.is(done.attr?.size, 5000n)
  const extents = mount.call(
    { $case: 'getExtents', value: { ino, offset: 0n, length: 9999n, limit: 10 } },
    'extents',
  )
  t.is(extents.blocks[0]?.locations.length, 3)
  t.is(extents.blocks[0]?.locations[0]?.host, 'n3')
  const again = mount.call(plan, 'plan')
  t.is(again.blocks[0]?.key, done.keys[0])
  t.deepEqual(mount.call(commit({ key: done.keys[0] ?? 0n }), 'commit').again, [])
  // Another session has no pin, so it cannot name the block by its key.
  const other = new Mount(fixture)
  const id = other.send(commit({ key: done.keys[0] ?? 0n }))
  mount.yieldAll()
  const answer = other.answer(id)?.result
  t.deepEqual(answer?.$case === 'commit' ? answer.value.again : undefined, [0])
})

test('a command sent again in its session happens once, also after a restart; acknowledged ones are refused', async t => {
  const fixture = await EngineFixture.make()
  const mount = new Mount(fixture)
  const id = mount.send(create('a'))
  const first = mount.answer(id)
  const welcome = mount.reattach()
  t.like(welcome, { $case: 'welcome', value: { resumed: true, reclaim: false } })
  mount.send(create('a'), id)
  const second = mount.answer(id)
  t.deepEqual(second?.result, first?.result)
  t.deepEqual(second?.leases, [])
  fixture.restart()
  t.like(mount.reattach(), { $case: 'welcome', value: { resumed: false, reclaim: true } })
  mount.send(create('a'), id)
  t.deepEqual(mount.answer(id)?.result, first?.result)
  mount.acked = id
  mount.send(create('a'), id)
  t.is(mount.answer(id)?.result?.$case, 'error')
  fixture.pass(250)
  t.is(fixture.store.replies.highest(fixture.store.sessions.all()[0]?.id as never), 0n)
})

test('what fails is stored too: a failed command does not happen later', async t => {
  const fixture = await EngineFixture.make()
  const mount = new Mount(fixture)
  mount.call(create('a'), 'entry')
  const id = mount.send(create('a'))
  t.like(mount.answer(id)?.result, { $case: 'error', value: { errno: errno.EEXIST } })
  mount.call(unlink('a'), 'remove')
  mount.send(create('a'), id)
  t.like(mount.answer(id)?.result, { $case: 'error', value: { errno: errno.EEXIST } })
  t.is(mount.call(lookup('a'), 'entry').attr, undefined)
})

test('a wrong secret, cluster, version or dead session is refused; malformed frames close the connection only', async t => {
  const fixture = await EngineFixture.make({ leaseMs: 2000, leaseMarginMs: 100 })
  const mount = new Mount(fixture)
  for (const wrong of [
    { session: mount.session, epoch: mount.epoch, secret: Buffer.alloc(16) },
    { cluster: Buffer.alloc(16, 9) },
    { versionMin: 9, versionMax: 9 },
  ]) {
    const stranger = new Mount(fixture, wrong)
    t.like(stranger.items[0], { $case: 'refused', value: { sessionDead: false } })
    t.not(stranger.closed, undefined)
  }
  const hostile = new Mount(fixture)
  hostile.raw(Buffer.from('ffffffffff', 'hex'))
  t.regex(hostile.closed ?? '', /Cannot decode SessionUp/)
  const early = fixture.open('session', hostile)
  fixture.step({ kind: 'frame', connection: early, bytes: Buffer.from([0x0a, 0x04, 0x2a, 0x02, 0x08, 0x01]) })
  t.regex(hostile.closed ?? '', /before Hello/)
  mount.call(create('still here'), 'entry')
  mount.lose()
  fixture.pass(3000)
  t.like(mount.reattach(), { $case: 'refused', value: { sessionDead: true } })
})

test('a read-only mount changes nothing', async t => {
  const fixture = await EngineFixture.make()
  const mount = new Mount(fixture, { readOnly: true })
  t.is(mount.errno(create('a')), errno.EROFS)
})

test('cluster time keeps to the clock, however short the steps are', async t => {
  const fixture = await EngineFixture.make()
  const mount = new Mount(fixture)
  for (let step = 0; step < 3000; step++) {
    fixture.now += 0.6
    fixture.step({ kind: 'tick' })
  }
  const made = mount.call(create('a'), 'entry').attr?.btime ?? 0n
  const ahead = made - fixture.wall
  t.true(ahead > -1_000_000n && ahead < 1_000_000n, `${ahead} ns ahead`)
})
