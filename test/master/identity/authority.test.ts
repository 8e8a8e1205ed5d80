import test from 'ava'
import { X509Certificate } from 'node:crypto'
import type { Clock } from '#src/core/env.ts'
import { day, hour, minute, nsPerMs } from '#src/core/units.ts'
import { RealRandom } from '#src/env/real-random.ts'
import { Authority } from '#src/master/identity/authority.ts'
import { emptyRegistry, type Registry, type RegistryStore } from '#src/master/identity/registry-file.ts'
import { makeKey, makeRequest } from '#src/wire/tls/certificates.ts'
import { identityOf } from '#src/wire/tls/peer.ts'
import { parseToken } from '#src/wire/tls/token.ts'
import { TestAuthority } from '../../wire/tls/authority-fixture.js'

/** Keeps texts, as a file does. */
class MemoryStore implements RegistryStore {
  text = JSON.stringify(emptyRegistry())
  full = false

  read(): Registry {
    return JSON.parse(this.text) as Registry
  }

  write(registry: Registry): void {
    if (this.full) throw new Error('the disk is full')
    this.text = JSON.stringify(registry)
  }
}

async function make() {
  const { key, certificate } = await TestAuthority.make()
  const store = new MemoryStore()
  const time = { ms: Date.now() }
  const clock: Clock = { now: () => time.ms, wall: () => BigInt(time.ms) * nsPerMs }
  const open = (): Authority =>
    new Authority({ own: { key, certificate }, store, clock, random: new RealRandom() })
  return { authority: open(), open, store, time, ca: new X509Certificate(certificate) }
}

const request = (): Promise<Uint8Array> => makeRequest(makeKey())

test('a token is good as often as it says, for its role and time, and no other secret is', async t => {
  const { authority, time, ca } = await make()
  const { token, expires } = authority.createToken('mount', 1 * hour, 2)
  t.is(expires, time.ms + 1 * hour)
  const parsed = parseToken(token)
  const first = new X509Certificate(await authority.join(parsed, await request(), 'laptop'))
  t.true(first.verify(ca.publicKey))
  t.like(identityOf(first.toLegacyObject()), { role: 'mount', name: 'laptop' })
  const wrong = { ...parsed, secret: parsed.secret.map(byte => byte ^ 1) }
  await t.throwsAsync(authority.join(wrong, await request(), ''), { message: /token is not good/ })
  await t.throwsAsync(authority.join({ ...parsed, id: new Uint8Array(8) }, await request(), ''), {
    message: /not good/,
  })
  const second = identityOf(
    new X509Certificate(await authority.join(parsed, await request(), '')).toLegacyObject(),
  )
  t.is(second.name, 'mount')
  await t.throwsAsync(authority.join(parsed, await request(), ''), { message: /used up/ })
  const late = parseToken(authority.createToken('admin', 1 * minute, 1).token)
  time.ms += 1 * minute
  await t.throwsAsync(authority.join(late, await request(), ''), { message: /expired/ })
})

test('who joins with a token of an export is known to be of it, and only a mount is', async t => {
  const { authority, open } = await make()
  t.throws(() => authority.createToken('admin', 1 * hour, 1, 'projects'), { message: /role mount/ })
  const told: ReadonlyMap<string, string>[] = []
  authority.watch(() => told.push(authority.exports))
  const parsed = parseToken(authority.createToken('mount', 1 * hour, 1, 'projects').token)
  const { id } = identityOf(
    new X509Certificate(await authority.join(parsed, await request(), 'laptop')).toLegacyObject(),
  )
  t.deepEqual(told.at(-1), new Map([[id, 'projects']]), 'before it has its certificate')
  const other = parseToken(authority.createToken('mount', 1 * hour, 1).token)
  await authority.join(other, await request(), 'tower')
  await authority.renew(id, await request())
  t.deepEqual(open().exports, new Map([[id, 'projects']]))
})

test('two that use one token at once: only one joins', async t => {
  const { authority } = await make()
  const parsed = parseToken(authority.createToken('mount', 1 * hour, 1).token)
  const requests = await Promise.all([request(), request(), request()])
  const joins = await Promise.allSettled(requests.map(each => authority.join(parsed, each, '')))
  t.is(joins.filter(({ status }) => status === 'fulfilled').length, 1)
  t.is(authority.identities.length, 1)
})

test('nobody is given the role of the master, nor a name that says more than a name', async t => {
  const { authority } = await make()
  for (const role of ['master', 'root', '', '__proto__'])
    t.throws(() => authority.createToken(role, 1 * hour, 1), { message: /no tokens for the role/ })
  t.throws(() => authority.createToken('mount', 0, 1))
  t.throws(() => authority.createToken('mount', Number.NaN, 1))
  t.throws(() => authority.createToken('mount', 400 * day, 1))
  t.throws(() => authority.createToken('mount', 1 * hour, 0))
  const parsed = parseToken(authority.createToken('mount', 1 * hour, 1).token)
  for (const name of ['a,OU=admin', 'a\0b', '../x', 'a'.repeat(65), ' '])
    await t.throwsAsync(authority.join(parsed, await request(), name), { message: /a name has/ })
  // None of these has used it.
  await authority.join(parsed, await request(), 'good')
  t.pass()
})

test('what is no request for a key of ours is refused', async t => {
  const { authority } = await make()
  const parsed = parseToken(authority.createToken('mount', 1 * hour, 1).token)
  const good = await request()
  const forged = good.slice()
  const last = forged.length - 1
  forged[last] = (forged[last] ?? 0) ^ 1
  for (const bad of [
    new Uint8Array(0),
    good.subarray(0, 40),
    forged,
    new Uint8Array(9000),
    Buffer.from('text'),
  ])
    await t.throwsAsync(authority.join(parsed, bad, ''), { code: 'EINVAL' })
  await authority.join(parsed, good, '')
  t.pass()
})

test('renewal keeps the identity and lengthens it; revoked and ended ones get nothing', async t => {
  const { authority, time } = await make()
  const { token } = authority.createToken('chunkserver', 1 * hour, 3)
  const join = async (name: string) =>
    identityOf(
      new X509Certificate(await authority.join(parseToken(token), await request(), name)).toLegacyObject(),
    )
  const one = await join('one')
  const two = await join('two')
  time.ms += 20 * day
  const renewed = identityOf(
    new X509Certificate(await authority.renew(one.id, await request())).toLegacyObject(),
  )
  t.like(renewed, { id: one.id, name: 'one', role: 'chunkserver' })
  t.is(renewed.until, one.until + 20 * day)
  time.ms += 15 * day
  await t.throwsAsync(authority.renew(two.id, await request()), { message: /expired/ })
  authority.revoke('one')
  await t.throwsAsync(authority.renew(one.id, await request()), { message: /revoked/ })
  await t.throwsAsync(authority.renew('nobody', await request()), { message: /unknown/ })
})

test('revoking tells the watchers, lasts, and needs to know who is meant', async t => {
  const { authority, open } = await make()
  const { token } = authority.createToken('mount', 1 * hour, 3)
  for (const name of ['twin', 'twin', 'single'])
    await authority.join(parseToken(token), await request(), name)
  const told: number[] = []
  authority.watch(standings => told.push(standings.filter(({ revoked }) => revoked).length))
  t.throws(() => authority.revoke('twin'), { message: /2 identities/ })
  t.throws(() => authority.revoke('nobody'), { message: /there is no identity/ })
  authority.revoke('single')
  authority.revoke(authority.identities[0]?.id ?? '')
  t.deepEqual(told, [1, 2])
  const again = open()
  t.deepEqual(
    again.standings.map(({ revoked }) => revoked),
    [true, false, true],
  )
  t.throws(() => again.revoke('single'), { message: /there is no identity/ })
  again.revoke('twin')
})

test('nobody gets a certificate that was not written down before', async t => {
  const { authority, store } = await make()
  const parsed = parseToken(authority.createToken('mount', 1 * hour, 1).token)
  store.full = true
  await t.throwsAsync(authority.join(parsed, await request(), ''), { message: 'the disk is full' })
  t.throws(() => authority.createToken('mount', 1 * hour, 1), { message: 'the disk is full' })
})

test('the secret of a token is not in the registry', async t => {
  const { authority, store } = await make()
  const { token } = authority.createToken('mount', 1 * hour, 1)
  const secret = Buffer.from(parseToken(token).secret)
  for (const form of ['hex', 'base64', 'base64url'] as const)
    t.false(store.text.includes(secret.toString(form)))
})
