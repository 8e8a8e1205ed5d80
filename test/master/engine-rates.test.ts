/** How fast mounts of an export may ask and write: what is beyond waits, and nothing fails. */
import test from 'ava'
import { type Mount, type Op, sha } from './engine-fixture.ts'
import { acquire, create, getAttr, plan } from './engine-ops.ts'
import { Cluster, laptop, setLock } from './exports-fixture.ts'

/** Which of the calls were answered, in the order of the answers. */
function answered(mount: Mount): bigint[] {
  const found = mount.items.flatMap(item => (item.$case === 'reply' ? [item.value.id] : []))
  mount.items = mount.items.filter(item => item.$case !== 'reply')
  return found
}

const statFs: Op = { $case: 'statFs', value: {} }

test('calls beyond the rate of an export wait for it, in their order, and in turn between its mounts', async t => {
  const cluster = await Cluster.make()
  cluster.export({ rules: { callsPerSecond: 10 } })
  const { fixture, all } = cluster
  const [one, other] = [cluster.mount(laptop), cluster.mount(laptop)]
  const sent = Array.from({ length: 40 }, () => one.send(statFs))
  t.deepEqual(answered(one), sent.slice(0, 10), 'what may be done in a second at once')
  const others = [other.send(statFs), other.send(statFs)]
  t.deepEqual(answered(other), [])
  fixture.pass(1000, one, other, all)
  const [first, second] = [answered(one), answered(other)]
  t.deepEqual(second, others, 'who asks little does not wait for who asks much')
  t.true(first.length >= 7 && first.length <= 9, String(first.length))
  t.deepEqual(first, sent.slice(10, 10 + first.length))
  t.is(all.call(statFs, 'statFs').blockBytes > 0, true, 'who is in no export does not wait')
  fixture.pass(2500, one, other, all)
  t.deepEqual(answered(one), sent.slice(10 + first.length))
})

test('what waits for its rate is given up like any other, and is sent again by who comes back', async t => {
  const cluster = await Cluster.make()
  cluster.export({ rules: { callsPerSecond: 1 } })
  const { fixture, sub } = cluster
  const mount = cluster.mount(laptop)
  mount.send(statFs)
  const [given, kept] = [
    mount.send(create('given', { parent: sub })),
    mount.send(create('kept', { parent: sub })),
  ]
  mount.up({ $case: 'cancel', value: { id: given } })
  t.is(mount.answer(given)?.result?.$case, 'error')
  t.is(mount.answer(kept), undefined)
  fixture.identity = laptop
  mount.reattach()
  fixture.pass(5000, mount, cluster.all)
  t.is(mount.answer(kept), undefined, 'it was not sent again')
  mount.send(create('kept', { parent: sub }), kept)
  fixture.pass(2000, mount, cluster.all)
  t.is(mount.answer(kept)?.result?.$case, 'entry')
  t.is(fixture.store.dirents.find(sub, Buffer.from('given')), undefined)
})

test('places for what is beyond the rate of bytes are given later, and all else goes on', async t => {
  const cluster = await Cluster.make()
  cluster.export({ rules: { writtenBytesPerSecond: 1000n } })
  const { fixture, all, nodes, sub } = cluster
  const mount = cluster.mount(laptop)
  const file = mount.call(create('file', { parent: sub }), 'entry').attr?.ino ?? 0n
  const planned = ['a', 'b', 'c'].map(text => mount.send(plan(file, sha(text), 3000)))
  t.not(mount.answer(planned[0] ?? 0n), undefined)
  t.is(mount.answer(planned[1] ?? 0n), undefined)
  t.not(mount.call(getAttr(file), 'attr').attr, undefined)
  fixture.pass(1500, mount, all, ...nodes)
  t.is(mount.answer(planned[1] ?? 0n), undefined, 'three seconds for what was written at once')
  fixture.pass(1000, mount, all, ...nodes)
  t.is(mount.answer(planned[1] ?? 0n)?.result?.$case, 'plan')
  t.is(mount.answer(planned[2] ?? 0n), undefined)
  fixture.pass(3500, mount, all, ...nodes)
  t.is(mount.answer(planned[2] ?? 0n)?.result?.$case, 'plan')
})

test('who is asked for a lease does not wait for its rate, and pays for it after', async t => {
  const cluster = await Cluster.make()
  cluster.export({ rules: { callsPerSecond: 2, writtenBytesPerSecond: 1n } })
  const { fixture, all, sub } = cluster
  const mount = cluster.mount(laptop)
  const file = mount.call(create('file', { parent: sub }), 'entry').attr?.ino ?? 0n
  const calls = Array.from({ length: 5 }, () => mount.send(setLock(file, 2)))
  const late = mount.send(plan(file, sha('a'), 1000))
  t.is(answered(mount).length, 1)
  all.send(acquire(file, 'read'))
  t.deepEqual(answered(mount), [...calls.slice(1), late])
  mount.yieldAll()
  mount.send(statFs)
  fixture.pass(1000, mount, all)
  t.deepEqual(answered(mount), [])
  fixture.pass(3000, mount, all)
  t.is(answered(mount).length, 1)
})

test('who sends more than can wait is not listened to any more', async t => {
  const cluster = await Cluster.make()
  cluster.export({ rules: { callsPerSecond: 1 } })
  const { fixture, all, sub } = cluster
  const greedy = cluster.mount(laptop)
  const value = Buffer.alloc(60_000)
  const big: Op = {
    $case: 'setXattr',
    value: { ino: sub, name: Buffer.from('user.a'), value, mode: 0, killSgid: false, time: 0n },
  }
  for (let sent = 0; sent < 700 && greedy.closed === undefined; sent++) greedy.send(big)
  t.regex(greedy.closed ?? '', /wait for the rate/)
  fixture.pass(1000, all)
  t.is(all.closed, undefined)
})
