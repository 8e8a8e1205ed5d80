/** Whose sessions and nodes are: a secret that was stolen is of no use with another certificate. */
import test from 'ava'
import { ChunkNode, EngineFixture, Mount, type Op } from './engine-fixture.ts'
import { create, lookup } from './engine-ops.ts'

const [laptop, thief, tower] = ['1a', '2b', '3c'].map(id => id.repeat(16)) as [string, string, string]

const endSession = ({ session, epoch, secret }: Mount): Op => ({
  $case: 'endSession',
  value: { session, epoch, secret },
})

test('a session is resumed by the identity that began it and by no other, also after a restart', async t => {
  const fixture = await EngineFixture.make()
  fixture.identity = laptop
  const mount = new Mount(fixture)
  for (const restarted of [false, true]) {
    if (restarted) fixture.restart()
    fixture.identity = thief
    const { session, epoch, secret } = mount
    const stolen = new Mount(fixture, { session, epoch, secret })
    t.like(stolen.items[0], { $case: 'refused', value: { sessionDead: false } })
    t.regex(show(stolen.items[0]), /of another identity/)
    t.not(stolen.closed, undefined)
    fixture.identity = laptop
    t.like(mount.reattach(), { $case: 'welcome', value: { session } })
  }
})

test('a session is ended by its secret only with the certificate that it began with', async t => {
  const fixture = await EngineFixture.make()
  fixture.identity = laptop
  const mount = new Mount(fixture)
  fixture.identity = thief
  new Mount(fixture).call(endSession(mount), 'done')
  t.is(mount.closed, undefined)
  fixture.identity = laptop
  new Mount(fixture).call(endSession(mount), 'done')
  t.not(mount.closed, undefined)
})

test("a node's store is let in with its own identity, and with another once that is not good any more", async t => {
  const fixture = await EngineFixture.make()
  fixture.identity = tower
  const node = new ChunkNode(fixture, 'n1')
  fixture.step({ kind: 'identities', good: [tower, thief] })
  const { node: id } = node
  const comesAs = (identity: string): boolean => {
    fixture.identity = identity
    node.reattach()
    return node.closed === undefined
  }
  t.true(comesAs(tower), 'by its store')
  t.false(comesAs(thief))
  node.node = 0n
  t.false(comesAs(thief), 'nor without its number')
  t.true(fixture.logs.includes('warn node refused'))
  fixture.restart()
  t.false(comesAs(thief), 'nor after a restart of the master')
  fixture.step({ kind: 'identities', good: [thief] })
  t.true(comesAs(thief), 'its machine joined anew, and the old identity was revoked')
  t.is(node.node, id)
  t.false(comesAs(tower))
})

test('what was before TLS belongs to the first who comes with it', async t => {
  const fixture = await EngineFixture.make()
  const node = new ChunkNode(fixture, 'n1')
  const mount = new Mount(fixture)
  fixture.identity = tower
  node.reattach()
  t.is(node.closed, undefined)
  t.like(mount.reattach(), { $case: 'welcome' })
  fixture.identity = thief
  node.reattach()
  t.not(node.closed, undefined)
})

test('the sessions of an identity that is revoked end at once, and what they held is free', async t => {
  const fixture = await EngineFixture.make()
  fixture.identity = thief
  const revoked = new Mount(fixture)
  revoked.call(create('a'), 'entry')
  fixture.identity = laptop
  const other = new Mount(fixture)
  const waiting = other.send(create('b'))
  t.is(other.answer(waiting), undefined, 'the lease of the directory is in the way')
  fixture.step({ kind: 'identities', good: [laptop] })
  t.is(other.answer(waiting)?.result?.$case, 'entry')
  t.not(revoked.closed, undefined)
  t.like(revoked.reattach(), { $case: 'refused', value: { sessionDead: true } })
  t.not(other.call(lookup('a'), 'entry').attr, undefined)
})

const show = (value: unknown): string =>
  JSON.stringify(value, (_, field: unknown) => (typeof field === 'bigint' ? field.toString() : field))
