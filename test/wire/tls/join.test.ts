import test, { type ExecutionContext } from 'ava'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { RealClock } from '#src/env/real-clock.ts'
import { RealRandom } from '#src/env/real-random.ts'
import { RealTimers } from '#src/env/real-timers.ts'
import { Authority } from '#src/master/identity/authority.ts'
import { serveIdentities } from '#src/master/identity/identity-service.ts'
import { wrongMax } from '#src/service/guess-limit.ts'
import { emptyRegistry, RegistryFile } from '#src/master/identity/registry-file.ts'
import { identityCreateToken, identityList, identityRenew, identityRevoke } from '#src/wire/services.ts'
import { GrpcNetwork } from '#src/wire/grpc/grpc-network.ts'
import { joinCluster } from '#src/wire/grpc/join.ts'
import { keyOfRequest, makeKey, makeRequest } from '#src/wire/tls/certificates.ts'
import { type Credentials, IdentityFolder } from '#src/wire/tls/identity-folder.ts'
import { renewInTime } from '#src/wire/tls/keep-identity.ts'
import { parseToken, tokenText } from '#src/wire/tls/token.ts'
import { Tls } from '#src/wire/tls/tls.ts'
import { watchStandings } from '#src/wire/tls/watch-standings.ts'
import { recordingLog } from '../grpc/harness.js'
import { TestAuthority } from './authority-fixture.js'

const soon = { timeoutMs: 60_000 }
const env = {
  clock: new RealClock(),
  timers: new RealTimers(),
  random: new RealRandom(),
  log: recordingLog([]),
}

/** A master that does nothing but know who is who. `lasts`: of the certificates that it gives, ms. */
async function master(t: ExecutionContext, lasts?: number) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'cairn-join-'))
  const fixture = await TestAuthority.make()
  const { key, certificate } = fixture
  const store = new RegistryFile(path.join(dir, 'registry.json'))
  store.write(emptyRegistry())
  const authority = new Authority({
    ...{ own: { key, certificate }, store, clock: env.clock, random: env.random },
    ...(lasts === undefined ? {} : { lasts }),
  })
  const enrol = async (role: 'master' | 'admin'): Promise<Credentials> => {
    const own = makeKey()
    const publicKey = await keyOfRequest(await makeRequest(own))
    return { authority: certificate, key: own, certificate: await authority.enrol(role, role, publicKey) }
  }
  const tls = new Tls(await enrol('master'))
  tls.standings.onlyListed = true
  tls.standings.replace(authority.standings)
  authority.watch(standings => tls.standings.replace(standings))
  const server = new GrpcNetwork({ log: recordingLog([]), tls })
  const own = new IdentityFolder(path.join(dir, 'master'))
  mkdirSync(own.dir)
  own.write(tls.credentials)
  const stopping = new AbortController()
  const renewing = renewInTime(env, tls, own, each => authority.renew(tls.identity.id, each), stopping.signal)
  const { address } = await server.listen('127.0.0.1:0', serving => serveIdentities(serving, authority, env))
  const open: GrpcNetwork[] = [server]
  t.teardown(async () => {
    stopping.abort()
    await renewing
    await Promise.all(open.map(each => each.close()))
    rmSync(dir, { recursive: true, force: true })
  })
  const as = (credentials: Credentials): { network: GrpcNetwork; tls: Tls } => {
    const own = new Tls(credentials)
    const network = new GrpcNetwork({ log: recordingLog([]), tls: own })
    open.push(network)
    return { network, tls: own }
  }
  return { authority, address, as, dir, admin: as(await enrol('admin')).network, fixture }
}

test('a token and a key of one’s own make an identity, which can do what its role can', async t => {
  const { address, admin, as } = await master(t)
  const made = await admin.call(
    address,
    identityCreateToken,
    { role: 'admin', lastsMs: 60_000n, uses: 1, export: '' },
    soon,
  )
  const { network } = as(await joinCluster(address, made.token, 'ada'))
  const { identities } = await network.call(address, identityList, {}, soon)
  t.deepEqual(
    identities.map(({ role, name }) => [role, name]),
    [
      ['master', 'master'],
      ['admin', 'admin'],
      ['admin', 'ada'],
    ],
  )
  await t.throwsAsync(joinCluster(address, made.token, 'bob'), { message: /token is not good/ })
})

test('a token of another cluster is never sent; one that is cut short is no token', async t => {
  const { address, authority } = await master(t)
  const other = await master(t)
  const { token } = other.authority.createToken('mount', 60_000, 1)
  await t.throwsAsync(joinCluster(address, token, ''), {
    message: /of another cluster than the token: nothing was sent/,
  })
  // It is still good where it belongs.
  await joinCluster(other.address, token, '')
  const own = authority.createToken('mount', 60_000, 1).token
  for (const bad of ['', own.slice(0, -4), own.slice(7), `${own}AAAA`, 'cairn1.'])
    await t.throwsAsync(joinCluster(address, bad, ''), { message: /no whole token/ })
  const parsed = parseToken(own)
  const wrong = tokenText({ ...parsed, secret: parsed.secret.map(byte => byte ^ 255) })
  await t.throwsAsync(joinCluster(address, wrong, ''), { message: /token is not good/ })
})

test('who guesses tokens is soon not listened to', async t => {
  const { address, authority } = await master(t)
  const { token } = authority.createToken('mount', 60_000, 1)
  const parsed = parseToken(token)
  for (let guess = 0; guess < wrongMax; guess++) {
    const wrong = tokenText({ ...parsed, secret: parsed.secret.map(byte => byte ^ (guess + 1)) })
    await t.throwsAsync(joinCluster(address, wrong, ''), { message: /token is not good/ })
  }
  // A right one is not looked at either.
  await t.throwsAsync(joinCluster(address, token, ''), { code: 'EAGAIN', message: /too many wrong tokens/ })
  t.is(authority.identities.length, 2)
})

test('nobody makes tokens, lists or revokes but an admin; a stranger can only join', async t => {
  const { address, admin, authority, as, fixture } = await master(t)
  const token = (role: string) => authority.createToken(role, 60_000, 1).token
  for (const role of ['mount', 'chunkserver', 'observer']) {
    const { network } = as(await joinCluster(address, token(role), role))
    const attempts = [
      network.call(
        address,
        identityCreateToken,
        { role: 'admin', lastsMs: 60_000n, uses: 1, export: '' },
        soon,
      ),
      network.call(address, identityList, {}, soon),
      network.call(address, identityRevoke, { identity: 'admin' }, soon),
    ]
    for (const attempt of attempts)
      await t.throwsAsync(attempt, { code: 'EACCES', message: /does not allow/ })
  }
  // A certificate of the same authority that is in no registry.
  const unlisted = as(await fixture.issue({ role: 'admin' })).network
  await t.throwsAsync(unlisted.call(address, identityList, {}, soon), {
    message: /is unknown|Lost the connection/,
  })
  t.is((await admin.call(address, identityList, {}, soon)).identities.length, 5)
})

test('the revoked one is told, hears no more, and others hear of it at once', async t => {
  const { address, admin, authority, as } = await master(t)
  const { token } = authority.createToken('chunkserver', 60_000, 2)
  const one = as(await joinCluster(address, token, 'one'))
  const two = as(await joinCluster(address, token, 'two'))
  const stop = new AbortController()
  let wake: () => void = () => undefined
  const heard = new Promise<void>(resolve => {
    wake = resolve
  })
  const watching = watchStandings(
    env,
    two.network,
    address,
    standings => {
      two.tls.standings.replace(standings)
      if (standings.some(({ id, revoked }) => id === one.tls.identity.id && revoked)) wake()
    },
    stop.signal,
  )
  await admin.call(address, identityRevoke, { identity: 'one' }, soon)
  await heard
  t.is(two.tls.standings.objection(one.tls.identity, Date.now()), 'revoked')
  const renewal = one.network.call(address, identityRenew, { request: await makeRequest(makeKey()) }, soon)
  await t.throwsAsync(renewal, { message: /is revoked/ })
  stop.abort()
  await watching
})

test('certificates are renewed before they end, calls go on meanwhile, and the folder has the newest', async t => {
  const { address, authority, as, dir } = await master(t, 24_000)
  const { token } = authority.createToken('mount', 60_000, 1)
  const { network, tls } = as(await joinCluster(address, token, 'laptop'))
  const folder = new IdentityFolder(dir)
  folder.write(tls.credentials)
  const first = tls.identity
  const stop = new AbortController()
  t.teardown(() => stop.abort())
  const renew = async (request: Uint8Array): Promise<string> =>
    (await network.call(address, identityRenew, { request }, soon)).certificate
  const renewing = renewInTime(env, tls, folder, renew, stop.signal)
  while (Date.now() < first.until + 1000) {
    await network.call(address, identityRenew, { request: await makeRequest(makeKey()) }, soon)
    await env.timers.sleep(500)
  }
  stop.abort()
  await renewing
  t.is(tls.identity.id, first.id)
  t.true(tls.identity.until > first.until)
  t.deepEqual(folder.read(), tls.credentials)
  t.is(authority.identities.filter(({ role }) => role === 'mount').length, 1)
})
