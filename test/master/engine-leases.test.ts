import test from 'ava'
import { errno } from '#src/core/errors.ts'
import { StatusReply, StatusRequest } from '#src/wire/gen/cairn/v1/admin.ts'
import { ChunkNode, EngineFixture, Mount, type Op } from './engine-fixture.ts'
import { acquire, chmod, create, getAttr, lookup, makeFile, unlink } from './engine-ops.ts'

const none = 0
const read = 1
const write = 2

test('a reader recalls the writer to read, waits for its answer and then gets its own lease', async t => {
  const fixture = await EngineFixture.make()
  const [a, b] = [new Mount(fixture), new Mount(fixture)]
  const ino = makeFile(a, 'f')
  const id = b.send(getAttr(ino))
  t.is(b.answer(id), undefined)
  const [recall] = a.recalls()
  t.like(recall, { ino, to: read, removing: false })
  // The holder flushes under its lease meanwhile: it is in nobody's way.
  a.call(chmod(ino, 0o600), 'attr')
  t.is(b.answer(id), undefined)
  a.up({ $case: 'recallDone', value: { id: recall?.id ?? 0n, ino, kept: read, open: true, writing: false } })
  const reply = b.answer(id)
  t.like(reply?.result, { $case: 'attr', value: { attr: { mode: 0o100600 } } })
  t.deepEqual(reply?.leases, [{ ino, kind: read, alone: false }])
  // Now both cache; a change by one recalls the other.
  const change = a.send(chmod(ino, 0o644))
  t.like(b.recalls()[0], { ino, to: none })
  t.is(a.answer(change), undefined)
  b.up({ $case: 'recallDone', value: { id: 1n, ino, kept: none, open: false, writing: false } })
  t.is(a.answer(change), undefined, 'the answer to another recall does not count')
  fixture.pass(500, a, b)
  t.is(a.answer(change), undefined)
})

test('a name made by one mount is recalled from the others, who then see it; its maker keeps its leases', async t => {
  const fixture = await EngineFixture.make()
  const [a, b, c] = [new Mount(fixture), new Mount(fixture), new Mount(fixture)]
  for (const mount of [a, b, c]) t.is(mount.call(lookup('new'), 'entry').attr, undefined)
  const id = a.send(create('new'))
  t.is(a.answer(id), undefined)
  t.is(b.yieldAll(), 1)
  t.is(a.answer(id), undefined, 'one of two has answered')
  t.is(c.yieldAll(), 1)
  const reply = a.answer(id)
  t.is(reply?.leases.find(grant => grant.ino === 1n)?.kind, write)
  const seen = b.send(lookup('new'))
  t.is(a.yieldAll(), 2, 'the write leases on the directory and the new file')
  t.is(b.answer(seen)?.result?.$case, 'entry')
})

test('those who wait for a lease get it in turn, and nobody slips in between', async t => {
  const fixture = await EngineFixture.make()
  const [a, b, c, d] = [new Mount(fixture), new Mount(fixture), new Mount(fixture), new Mount(fixture)]
  const ino = makeFile(a, 'f')
  const first = b.send(acquire(ino, 'write'))
  const second = c.send(acquire(ino, 'write'))
  // Reads without a conflict run, but bring no lease while others wait.
  a.up({
    $case: 'recallDone',
    value: { id: a.recalls()[0]?.id ?? 0n, ino, kept: none, open: false, writing: false },
  })
  t.like(b.answer(first)?.result, { $case: 'acquire', value: { kind: write } })
  t.is(c.answer(second), undefined)
  const third = d.send(acquire(ino, 'read'))
  t.is(d.answer(third), undefined)
  t.is(b.yieldAll(), 1)
  t.like(c.answer(second)?.result, { $case: 'acquire', value: { kind: write } })
  t.is(d.answer(third), undefined)
  t.is(c.yieldAll(), 1)
  t.like(d.answer(third)?.result, { $case: 'acquire', value: { kind: read } })
})

test('a reader that comes later does not pass a writer that waits', async t => {
  const fixture = await EngineFixture.make()
  const [a, b, c] = [new Mount(fixture), new Mount(fixture), new Mount(fixture)]
  const ino = makeFile(a, 'f')
  const shared = b.send(acquire(ino, 'read'))
  a.yieldAll()
  b.answer(shared)
  const writing = c.send(acquire(ino, 'write'))
  const later = new Mount(fixture)
  const reading = later.send(acquire(ino, 'read'))
  t.is(later.answer(reading), undefined)
  // What needs no lease runs, and brings none.
  t.deepEqual(later.reply(getAttr(ino)).leases, [])
  a.yieldAll()
  b.yieldAll()
  t.like(c.answer(writing)?.result, { $case: 'acquire', value: { kind: write } })
  c.yieldAll()
  t.like(later.answer(reading)?.result, { $case: 'acquire', value: { kind: read } })
})

test('a holder that does not answer is evicted after its time, one that makes progress is not', async t => {
  const fixture = await EngineFixture.make({ leaseMs: 4000, leaseMarginMs: 100 })
  const [a, b] = [new Mount(fixture), new Mount(fixture)]
  const ino = makeFile(a, 'f')
  const id = b.send(getAttr(ino))
  fixture.pass(3500, a, b)
  a.up({
    $case: 'call',
    value: {
      id: 50n,
      promised: false,
      op: {
        $case: 'commit',
        value: {
          ino,
          extents: [],
          blocks: [],
          mtime: { now: true, value: 0n },
          atime: undefined,
          killSuidgid: false,
          append: false,
          pages: false,
          time: 0n,
        },
      },
    },
  })
  fixture.pass(3500, a, b)
  t.is(a.closed, undefined)
  t.is(b.answer(id), undefined)
  fixture.pass(1500, a, b)
  t.true(a.items.some(item => item.$case === 'refused' && item.value.sessionDead))
  t.is(b.answer(id), undefined, 'it may not have heard, and believe that it has its leases')
  fixture.pass(3500, b)
  t.is(b.answer(id)?.result?.$case, 'attr')
})

test('who proves to know that its session is to end is not waited for', async t => {
  const fixture = await EngineFixture.make({ leaseMs: 4000, leaseMarginMs: 100 })
  const [a, b] = [new Mount(fixture), new Mount(fixture)]
  const ino = makeFile(a, 'f')
  const id = b.send(getAttr(ino))
  fixture.pass(4500, a, b)
  t.not(a.closed, undefined)
  t.is(b.answer(id), undefined)
  t.like(a.reattach(), { $case: 'refused', value: { sessionDead: true } })
  t.is(b.answer(id), undefined, 'an answer may be lost')
  const { session, epoch, secret } = a
  // What a mount says of its host and process anybody can say.
  const next = new Mount(fixture)
  const end = (given: Uint8Array): Op => ({ $case: 'endSession', value: { session, epoch, secret: given } })
  next.call(end(Buffer.alloc(secret.length)), 'done')
  t.is(b.answer(id), undefined)
  next.call(end(secret), 'done')
  t.is(b.answer(id)?.result?.$case, 'attr')
})

test('a silent mount loses its leases only after its lease time, and keeps them if it comes back before', async t => {
  const fixture = await EngineFixture.make({ leaseMs: 4000, leaseMarginMs: 100 })
  const [a, b] = [new Mount(fixture), new Mount(fixture)]
  const ino = makeFile(a, 'f')
  a.lose()
  const id = b.send(getAttr(ino))
  fixture.pass(3000, b)
  t.is(b.answer(id), undefined)
  t.like(a.reattach(), { $case: 'welcome', value: { resumed: true } })
  t.is(a.recalls().length, 1, 'the recall is sent again')
  a.lose()
  fixture.pass(5000, b)
  t.is(b.answer(id)?.result?.$case, 'attr')
})

test('who was heard, and whose frames wait for those of others, is not silent, and has some time to answer recalls', async t => {
  const fixture = await EngineFixture.make({ leaseMs: 4000, leaseMarginMs: 100 })
  const [a, b] = [new Mount(fixture), new Mount(fixture)]
  const node = new ChunkNode(fixture, 'n1')
  const ino = makeFile(a, 'f')
  const id = b.send(getAttr(ino))
  t.is(a.recalls().length, 1)
  fixture.waiting = [a.connection, node.connection]
  fixture.pass(7000, b)
  t.is(a.closed, undefined)
  t.is(node.closed, undefined)
  t.is(b.answer(id), undefined)
  // But others do not wait for ever.
  fixture.pass(2000, b)
  t.not(a.closed, undefined)
  fixture.waiting = [node.connection]
  fixture.pass(4000, b)
  t.is(b.answer(id)?.result?.$case, 'attr')
  fixture.pass(6000, b)
  t.is(node.closed, undefined)
  fixture.waiting = []
  fixture.pass(20_000, b)
  t.not(node.closed, undefined)
})

test('a process that was stopped does not take its own pause for the silence of others', async t => {
  const fixture = await EngineFixture.make({ leaseMs: 4000, leaseMarginMs: 100 })
  const mount = new Mount(fixture)
  fixture.pass(1000, mount)
  fixture.now += 60_000
  fixture.step({ kind: 'tick' })
  t.is(mount.closed, undefined)
  t.is(fixture.store.sessions.all().length, 1)
})

test('an unlink asks all who may have the file open, and it lives on for them', async t => {
  const fixture = await EngineFixture.make()
  const [a, b, c] = [new Mount(fixture), new Mount(fixture), new Mount(fixture)]
  const ino = makeFile(a, 'f')
  const opened = b.send(acquire(ino, 'write'))
  a.yieldAll()
  b.answer(opened)
  // b has it open, and gives up its lease to c: it must still be asked.
  const taken = c.send(acquire(ino, 'write'))
  t.is(b.yieldAll(true), 1)
  c.answer(taken)
  const id = a.send(unlink('f'))
  t.true(c.recalls().some(recall => recall.ino === ino && recall.removing && recall.to === none))
  const asked = b.recalls()
  t.true(asked.some(recall => recall.ino === ino && recall.removing))
  t.is(a.answer(id), undefined)
  for (const { id: recall, ino: of } of asked)
    b.up({
      $case: 'recallDone',
      value: { id: recall, ino: of, kept: none, open: of === ino, writing: false },
    })
  t.is(a.answer(id), undefined)
  c.up({ $case: 'goodbye', value: {} })
  t.like(a.answer(id)?.result, { $case: 'remove', value: { orphaned: true } })
  t.is(b.call(getAttr(ino), 'attr').attr?.nlink, 0)
  // It survives a restart of the master, and ends with the session that has it open.
  fixture.restart()
  b.reattach()
  a.reattach()
  for (const mount of [a, b])
    mount.call({ $case: 'reclaim', value: { leases: [], locks: [], last: true } }, 'done')
  t.is(b.call(getAttr(ino), 'attr').attr?.nlink, 0)
  b.call({ $case: 'closeOrphan', value: { ino, unsent: false } }, 'done')
  t.is(b.errno(getAttr(ino)), errno.ESTALE)
})

test('the orphans of a dead session go, also when the master restarts in between', async t => {
  const fixture = await EngineFixture.make()
  const a = new Mount(fixture)
  const ino = makeFile(a, 'f')
  t.true(a.call(unlink('f', { open: true }), 'remove').orphaned)
  a.up({ $case: 'goodbye', value: {} })
  fixture.restart()
  fixture.pass(500)
  t.is(fixture.store.inodes.find(ino), undefined)
})

test('after a restart what may conflict waits until all have reclaimed, or are dead', async t => {
  const fixture = await EngineFixture.make({ leaseMs: 4000, leaseMarginMs: 100 })
  const [a, b] = [new Mount(fixture), new Mount(fixture)]
  const ino = makeFile(a, 'f')
  fixture.restart()
  t.like(b.reattach(), { $case: 'welcome', value: { reclaim: true } })
  b.call(
    {
      $case: 'reclaim',
      value: { leases: [{ ino: 1n, kind: read, open: false, writing: false }], locks: [], last: true },
    },
    'done',
  )
  const waiting = b.send(getAttr(ino))
  const lock: Op = {
    $case: 'setLock',
    value: { ino, lock: { kind: 2, flock: false, owner: 1n, start: 0n, end: 9n, pid: 1 }, wait: false },
  }
  const locking = b.send(lock)
  t.is(b.answer(waiting), undefined)
  a.reattach()
  a.call(
    {
      $case: 'reclaim',
      value: {
        leases: [{ ino, kind: write, open: true, writing: false }],
        locks: [{ ino, lock: { kind: 2, flock: false, owner: 5n, start: 0n, end: 0n, pid: 1 } }],
        last: true,
      },
    },
    'done',
  )
  t.like(b.answer(locking)?.result, { $case: 'error', value: { errno: errno.EAGAIN } })
  t.is(b.answer(waiting), undefined, 'the reclaimed write lease is in the way')
  t.is(a.yieldAll(), 1)
  t.is(b.answer(waiting)?.result?.$case, 'attr')
  // A mount that never comes back is waited for as long as its lease.
  fixture.restart()
  b.reattach()
  b.call({ $case: 'reclaim', value: { leases: [], locks: [], last: true } }, 'done')
  const id = b.send(getAttr(ino))
  fixture.pass(3000, b)
  t.is(b.answer(id), undefined)
  fixture.pass(2000, b)
  t.is(b.answer(id)?.result?.$case, 'attr')
})

test('a lone mount needs no grace, whatever it held', async t => {
  const fixture = await EngineFixture.make()
  const a = new Mount(fixture)
  const ino = makeFile(a, 'f')
  fixture.restart()
  a.reattach()
  t.is(a.call(getAttr(ino), 'attr').attr?.ino, ino)
})

test('a barrier is answered after the commands before it', async t => {
  const fixture = await EngineFixture.make()
  const [a, b] = [new Mount(fixture), new Mount(fixture)]
  b.call(lookup('x'), 'entry')
  const command = a.send(create('x'))
  const barrier = a.send({ $case: 'barrier', value: {} })
  t.is(a.answer(barrier), undefined)
  b.yieldAll()
  t.is(a.answer(command)?.result?.$case, 'entry')
  t.is(a.answer(barrier)?.result?.$case, 'done')
})

test('a waiting command that is cancelled is not executed, not even when it is sent again', async t => {
  const fixture = await EngineFixture.make()
  const [a, b] = [new Mount(fixture), new Mount(fixture)]
  b.call(lookup('x'), 'entry')
  const id = a.send(create('x'))
  a.up({ $case: 'cancel', value: { id } })
  t.like(a.answer(id)?.result, { $case: 'error', value: { errno: errno.EINTR } })
  b.yieldAll()
  a.send(create('x'), id)
  t.like(a.answer(id)?.result, { $case: 'error', value: { errno: errno.EINTR } })
  t.is(a.call(lookup('x'), 'entry').attr, undefined)
})

test('lock waits are granted, interrupted, refused as a circle, and end with their session', async t => {
  const fixture = await EngineFixture.make()
  const [a, b, c] = [new Mount(fixture), new Mount(fixture), new Mount(fixture)]
  const ino = makeFile(a, 'f')
  const lock = (kind: 0 | 1 | 2, start: bigint, wait: boolean): Op => ({
    $case: 'setLock',
    value: { ino, lock: { kind, flock: false, owner: 1n, start, end: start, pid: 7 }, wait },
  })
  a.call(lock(2, 0n, false), 'done')
  b.call(lock(2, 1n, false), 'done')
  t.is(b.errno(lock(1, 0n, false)), errno.EAGAIN)
  const held = b.call(
    {
      $case: 'getLock',
      value: { ino, lock: { kind: 2, flock: false, owner: 1n, start: 0n, end: 5n, pid: 7 } },
    },
    'lock',
  )
  t.like(held, { session: a.session, lock: { kind: 2, start: 0n, end: 0n } })
  const waiting = b.send(lock(2, 0n, true))
  t.is(a.errno(lock(2, 1n, true)), errno.EDEADLK)
  const other = c.send(lock(2, 0n, true))
  c.up({ $case: 'cancel', value: { id: other } })
  t.like(c.answer(other)?.result, { $case: 'error', value: { errno: errno.EINTR } })
  t.is(b.answer(waiting), undefined)
  b.send(lock(2, 0n, true), waiting)
  a.up({ $case: 'goodbye', value: {} })
  t.is(b.answer(waiting)?.result?.$case, 'done')
  t.is(b.answer(waiting), undefined, 'answered once')
})

const endSession = (
  { session, epoch, secret }: Mount,
  more: { epoch?: bigint; secret?: Uint8Array } = {},
): Op => ({
  $case: 'endSession',
  value: { session, epoch, secret, ...more },
})

test('a session that is proved to be dead ends at once, and what it held is free', async t => {
  const fixture = await EngineFixture.make()
  const dead = new Mount(fixture)
  const ino = makeFile(dead, 'f')
  dead.call(acquire(ino, 'write'), 'acquire')
  const next = new Mount(fixture)
  const waiting = next.send(getAttr(ino))
  t.is(next.answer(waiting), undefined, 'the write lease is in the way')
  next.call(endSession(dead), 'done')
  t.is(next.answer(waiting)?.result?.$case, 'attr')
  t.not(dead.closed, undefined)
  t.like(dead.reattach(), { $case: 'refused', value: { sessionDead: true } })
  next.call(endSession(dead), 'done')
})

test('after a restart, sessions that are proved to be dead are not waited for', async t => {
  const fixture = await EngineFixture.make()
  const dead = new Mount(fixture)
  const other = new Mount(fixture)
  const ino = makeFile(dead, 'f')
  fixture.restart()
  const next = new Mount(fixture)
  const waiting = next.send(getAttr(ino))
  next.call(endSession(dead), 'done')
  t.is(next.answer(waiting), undefined, 'the other one may still reclaim')
  next.call(endSession(other), 'done')
  t.is(next.answer(waiting)?.result?.$case, 'attr')
})

test('nobody ends a session without its secret, or its own that way', async t => {
  const fixture = await EngineFixture.make()
  const [a, b] = [new Mount(fixture), new Mount(fixture)]
  for (const wrong of [{ secret: Buffer.alloc(16) }, { secret: Buffer.alloc(0) }, { epoch: a.epoch + 1n }])
    b.call(endSession(a, wrong), 'done')
  t.is(b.errno(endSession(a, { secret: Buffer.alloc(65) })), errno.EINVAL)
  t.is(b.errno(endSession(b)), errno.EINVAL)
  a.call(getAttr(1n), 'attr')
  b.call(getAttr(1n), 'attr')
})

test('what a lost connection left waiting is not executed, unless its session comes back and asks again', async t => {
  const fixture = await EngineFixture.make()
  const [a, b] = [new Mount(fixture), new Mount(fixture)]
  b.call(lookup('x'), 'entry')
  const id = a.send(create('x'))
  a.lose()
  b.yieldAll()
  t.is(b.call(lookup('x'), 'entry').attr, undefined)
  b.yieldAll()
  t.like(a.reattach(), { $case: 'welcome', value: { resumed: true } })
  a.send(create('x'), id)
  b.yieldAll()
  t.is(a.answer(id)?.result?.$case, 'entry')
})

test('the leases of one session are bounded, and those of all: who has most gives back the oldest', async t => {
  const fixture = await EngineFixture.make({ leasesPerSession: 6, leases: 9 })
  const [a, b] = [new Mount(fixture), new Mount(fixture)]
  const files = Array.from({ length: 12 }, (_, index) => makeFile(a, `f${index}`))
  a.recalls()
  fixture.pass(500, a, b)
  const asked = a.items.flatMap(item => (item.$case === 'recall' ? [item.value.ino] : []))
  // The root's lease is the oldest; thirteen are more than nine in all, of which four are its share.
  t.deepEqual(asked, [1n, ...files.slice(0, 8)])
  a.yieldAll()
  for (const ino of files) b.send(getAttr(ino))
  for (let round = 0; round < 3; round++) {
    a.yieldAll()
    b.yieldAll()
    fixture.pass(500, a, b)
  }
  const { bytes = Buffer.alloc(0) } = fixture.admin('status', StatusRequest.encode({}).finish())
  const leases = StatusReply.decode(bytes).mounts.map(mount => Number(mount.leases))
  t.true(leases.reduce((sum, count) => sum + count, 0) <= 9, leases.join(' '))
})

test('what goes with a closed orphan is not waited for', async t => {
  const fixture = await EngineFixture.make()
  const [a, b] = [new Mount(fixture), new Mount(fixture)]
  const ino = makeFile(a, 'f')
  const opening = b.send(acquire(ino, 'write'))
  a.yieldAll(true)
  b.answer(opening)
  const removing = a.send(unlink('f', { open: true }))
  for (const { id, ino: of } of b.recalls())
    b.up({ $case: 'recallDone', value: { id, ino: of, kept: none, open: true, writing: true } })
  t.like(a.answer(removing)?.result, { $case: 'remove', value: { orphaned: true } })
  t.is(a.call(getAttr(ino), 'attr').attr?.nlink, 0)
  const id = b.send(chmod(ino, 0o600))
  t.true(a.recalls().some(recall => recall.ino === ino))
  t.is(b.answer(id), undefined)
  a.call({ $case: 'closeOrphan', value: { ino, unsent: false } }, 'done')
  t.like(b.answer(id)?.result, { $case: 'attr' })
})

test('claims that contradict each other after a restart are all recalled', async t => {
  const fixture = await EngineFixture.make()
  const [a, b] = [new Mount(fixture), new Mount(fixture)]
  const ino = makeFile(a, 'f')
  fixture.restart()
  a.reattach()
  b.reattach()
  const claim = (kind: typeof read | typeof write, open: boolean): Op => ({
    $case: 'reclaim',
    value: { leases: [{ ino, kind, open, writing: kind === write }], locks: [], last: true },
  })
  b.call(claim(read, false), 'done')
  t.deepEqual(b.recalls(), [])
  a.call(claim(write, true), 'done')
  // Until the writer has answered, nobody is told what it may have changed.
  const asked = b.send(getAttr(ino))
  t.is(b.answer(asked), undefined)
  t.is(b.yieldAll(), 1)
  t.is(b.answer(asked), undefined)
  t.is(a.yieldAll(), 1)
  t.is(b.answer(asked)?.result?.$case, 'attr')
})
