/** Who comes from other machines to the console and to metrics, and what he tries. */
import test, { type ExecutionContext } from 'ava'
import { randomBytes } from 'node:crypto'
import { type IncomingHttpHeaders, request as plainRequest } from 'node:http'
import { request, type RequestOptions } from 'node:https'
import { connect as connectTcp } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { askMetrics } from '#src/cli/doctor/ask-metrics.ts'
import { ConsoleServer } from '#src/console/console-server.ts'
import { type Log, silentLog } from '#src/core/env.ts'
import { realEnv } from '#src/env/real-env.ts'
import { StatusServer } from '#src/web/status-server.ts'
import { Logins, type Visitor } from '#src/web/logins.ts'
import { PageTls } from '#src/web/page-tls.ts'
import type { Credentials } from '#src/wire/tls/identity-folder.ts'
import { Tls } from '#src/wire/tls/tls.ts'
import { TestAuthority } from '../wire/tls/authority-fixture.js'
import { FakeCluster } from './fixture.js'

interface Answer {
  readonly code: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

interface LogLine {
  readonly message: string
  readonly fields: object | undefined
}

const recording = (lines: LogLine[]): Log => ({
  ...silentLog,
  info: (message, fields) => void lines.push({ message, fields }),
  warn: (message, fields) => void lines.push({ message, fields }),
})

interface World {
  readonly authority: TestAuthority
  readonly tls: Tls
  readonly logins: Logins
  readonly log: LogLine[]
  readonly site: string
  readonly ask: (path: string, how?: RequestOptions & { readonly body?: string }) => Promise<Answer>
  readonly metrics: (how?: RequestOptions) => Promise<Answer>
  readonly standing: (identity: { readonly id: string }, revoked: boolean) => void
  readonly port: number
  readonly statusAddress: string
}

const ada: Visitor = { role: 'admin', name: 'ada', id: 'a'.repeat(32) }
const bob: Visitor = { role: 'observer', name: 'bob', id: 'b'.repeat(32) }
const later = Date.now() + 86_400_000

async function world(t: ExecutionContext): Promise<World> {
  const authority = await TestAuthority.make()
  const log: LogLine[] = []
  const env = realEnv(recording(log))
  const tls = new Tls(await authority.issue({ role: 'master' }))
  const good = [ada.id, bob.id].map(id => ({ id, until: later, revoked: false }))
  tls.standings.replace(good)
  const logins = new Logins(env)
  const page = PageTls.daemon(tls)
  const console = await ConsoleServer.listen(env, '0.0.0.0:0', new FakeCluster(), { page, logins })
  t.teardown(() => console.close())
  const pages = { metrics: async () => 'cairn_x 1\n', alive: async () => undefined, unready: () => undefined }
  const status = await StatusServer.listen('0.0.0.0:0', pages, { page, env })
  t.teardown(() => status.close())
  const port = Number(console.address.split(':')[1])
  const get = (at: number, path: string, { body, ...how }: RequestOptions & { readonly body?: string }) =>
    new Promise<Answer>((resolve, reject) => {
      const asked = request(
        {
          ...{
            host: '127.0.0.1',
            port: at,
            path,
            servername: 'cairn',
            ca: authority.certificate,
            agent: false,
          },
          ...how,
        },
        response => {
          const parts: Buffer[] = []
          response.on('data', (part: Buffer) => parts.push(part))
          response.on('error', reject)
          response.on('end', () => {
            const { headers, statusCode: code = 0 } = response
            resolve({ code, headers, text: Buffer.concat(parts).toString() })
          })
        },
      )
      asked.on('error', reject)
      asked.end(body)
    })
  const statusPort = Number(status.address.split(':')[1])
  return {
    ...{ authority, tls, logins, log, port, statusAddress: status.address },
    site: `https://127.0.0.1:${String(port)}`,
    ask: (path, how = {}) => get(port, path, how),
    metrics: ({ path = '/metrics', ...how } = {}) => get(statusPort, path ?? '', how),
    standing: ({ id }, revoked) =>
      tls.standings.replace([...good.filter(each => each.id !== id), { id, until: later, revoked }]),
  }
}

const pair = ({ key, certificate: cert }: Credentials): RequestOptions => ({ key, cert })

const post = ({ site }: World, code: unknown, more: Readonly<Record<string, string>> = {}) => ({
  method: 'POST',
  headers: { origin: site, 'content-type': 'application/json', ...more },
  body: JSON.stringify({ code }),
})

async function login(at: World, as: Visitor): Promise<string> {
  const answer = await at.ask('/login', post(at, at.logins.code(as)))
  const [cookie = ''] = answer.headers['set-cookie'] ?? []
  return cookie
}

const withCookie = (cookie: string) => ({ headers: { cookie: cookie.split(';')[0] ?? '' } })

test('who shows no certificate of an admin or observer sees nothing but the page to log in', async t => {
  const at = await world(t)
  const { ask, metrics, authority, log } = at
  const stranger = await TestAuthority.make()
  for (const path of ['/', '/login.html', '/login.js']) t.is((await ask(path)).code, 200, path)
  const questions = ['/api/overview', '/api/live', '/api/folder?path=/', '/api/visitor', '/api/none']
  for (const path of questions) t.is((await ask(path)).code, 401, path)
  for (const path of ['/metrics', '/healthz', '/readyz', '/']) t.is((await metrics({ path })).code, 401, path)
  for (const role of ['mount', 'chunkserver', 'master'] as const) {
    const how = pair(await authority.issue({ role }))
    t.is((await ask('/api/overview', how)).code, 403, role)
    t.is((await metrics(how)).code, 403, role)
  }
  for (const credentials of [
    await stranger.issue({ role: 'admin' }),
    await authority.issue({ role: 'admin', lasts: -1000 }),
  ]) {
    t.is((await ask('/api/overview', pair(credentials))).code, 403)
    t.is((await metrics(pair(credentials))).code, 403)
  }
  t.true(
    log.some(
      ({ message, fields }) => message === 'Denied' && JSON.stringify(fields).includes('"role":"mount"'),
    ),
  )
  // Neither the plain protocol nor an old one.
  await t.throwsAsync(ask('/', { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' }))
  const plain = new Promise<number>((resolve, reject) => {
    const asked = plainRequest({ host: '127.0.0.1', port: at.port, path: '/' }, answer =>
      resolve(answer.statusCode ?? 0),
    )
    asked.on('error', reject)
    asked.end()
  })
  await t.throwsAsync(plain)
})

test('doctor asks daemons for their metrics as the admin that it is', async t => {
  const { authority, statusAddress } = await world(t)
  const as = async (credentials: Credentials | undefined) =>
    askMetrics(statusAddress, credentials === undefined ? undefined : new Tls(credentials)).answer
  t.deepEqual(await as(await authority.issue({ role: 'admin' })), { code: 200, text: 'cairn_x 1\n' })
  t.is((await as(await authority.issue({ role: 'mount' }))).code, 403)
  await t.throwsAsync(as(undefined))
  await t.throwsAsync(as(await (await TestAuthority.make()).issue({ role: 'admin' })))
})

test('an admin and an observer come with their certificates, and a revoked one comes no more', async t => {
  const { ask, metrics, authority, standing } = await world(t)
  for (const role of ['admin', 'observer'] as const) {
    const id = randomBytes(16).toString('hex')
    const how = pair(await authority.issue({ role, id }))
    t.is((await ask('/api/overview', how)).code, 200, role)
    t.is((await ask('/api/folder?path=/', how)).code, role === 'admin' ? 200 : 403)
    t.is((await ask('/api/blocks?path=/a', how)).code, role === 'admin' ? 200 : 403)
    t.deepEqual([(await metrics(how)).code, (await metrics(how)).text], [200, 'cairn_x 1\n'])
    standing({ id }, true)
    t.is((await ask('/api/overview', how)).code, 403)
    t.regex((await metrics(how)).text, /is revoked/)
  }
})

test('a connection that is open when its identity is revoked sees nothing more', async t => {
  const { authority, port, standing } = await world(t)
  const id = randomBytes(16).toString('hex')
  const { key, certificate: cert } = await authority.issue({ role: 'admin', id })
  const socket = connectTls({
    host: '127.0.0.1',
    port,
    servername: 'cairn',
    ca: authority.certificate,
    key,
    cert,
  })
  t.teardown(() => socket.destroy())
  let heard = ''
  socket.on('data', (part: Buffer) => (heard += part.toString()))
  const ask = async (): Promise<string> => {
    heard = ''
    socket.write('GET /api/visitor HTTP/1.1\r\nhost: cairn\r\n\r\n')
    while (!heard.includes('}')) await new Promise(resolve => socket.once('data', resolve))
    return heard.slice(9, 12)
  }
  await new Promise(resolve => socket.once('secureConnect', resolve))
  t.is(await ask(), '200')
  standing({ id }, true)
  t.is(await ask(), '403')
})

test('a code is good once, its cookie is for this site and this browser, and ends', async t => {
  const at = await world(t)
  const { ask, logins, standing } = at
  const code = logins.code(ada)
  const entered = await ask('/login', post(at, code))
  t.is(entered.code, 200)
  const [cookie = ''] = entered.headers['set-cookie'] ?? []
  t.regex(cookie, /^__Host-cairn=[\w-]{43}; Path=\/; Secure; HttpOnly; SameSite=Strict$/)
  t.is((await ask('/login', post(at, code))).code, 403, 'used up')
  t.deepEqual(JSON.parse((await ask('/api/visitor', withCookie(cookie))).text), {
    ...{ name: 'ada', role: 'admin', login: true },
  })
  t.is((await ask('/api/folder?path=/', withCookie(cookie))).code, 200)
  // Forged, cut, doubled.
  for (const wrong of ['__Host-cairn=', `__Host-cairn=${'A'.repeat(43)}`, cookie.slice(0, 40), `x${cookie}`])
    t.is((await ask('/api/overview', withCookie(wrong))).code, 401, wrong)
  // A cookie of a login is no certificate: metrics do not know it.
  t.is((await at.metrics(withCookie(cookie))).code, 401)
  // A stolen one is good until the logout, and no longer.
  const logout = await ask('/logout', {
    method: 'POST',
    headers: { origin: at.site, ...withCookie(cookie).headers },
  })
  t.regex(String(logout.headers['set-cookie']), /^__Host-cairn=; .*Max-Age=0$/)
  t.is((await ask('/api/overview', withCookie(cookie))).code, 401)
  // Who is revoked is out, whatever his browser has, and a code of his is worth nothing.
  const bobs = await login(at, bob)
  const unused = logins.code(bob)
  t.is((await ask('/api/overview', withCookie(bobs))).code, 200)
  t.is((await ask('/api/folder?path=/', withCookie(bobs))).code, 403, 'an observer')
  standing(bob, true)
  t.is((await ask('/api/overview', withCookie(bobs))).code, 403)
  t.is((await ask('/login', post(at, unused))).code, 403)
  standing(bob, false)
  t.is((await ask('/api/overview', withCookie(bobs))).code, 401, 'the login ended with the revocation')
})

test('a page of somewhere else can neither ask, nor log in or out, nor come under its own name', async t => {
  const at = await world(t)
  const { ask, logins, site, authority, metrics } = at
  const cookie = await login(at, ada)
  const own = withCookie(cookie).headers
  const foreign = [
    'https://evil.example',
    'null',
    site.replace('https', 'http'),
    `${site}0`,
    `${site}.evil.example`,
  ]
  for (const origin of foreign) {
    t.is((await ask('/api/overview', { headers: { ...own, origin } })).code, 403, origin)
    t.is((await ask('/login', post(at, logins.code(bob), { origin }))).code, 403, origin)
    t.is((await ask('/logout', { method: 'POST', headers: { ...own, origin } })).code, 403, origin)
  }
  for (const from of ['cross-site', 'same-site'])
    t.is(
      (
        await ask('/api/overview', {
          headers: { ...own, 'sec-fetch-site': from, 'sec-fetch-mode': 'no-cors' },
        })
      ).code,
      403,
    )
  // A form of somewhere else cannot make this content type, and where a POST says nothing of its page it is none of ours.
  t.is((await ask('/login', post(at, logins.code(bob), { 'content-type': 'text/plain' }))).code, 400)
  t.is((await ask('/logout', { method: 'POST', headers: own })).code, 403)
  t.is((await ask('/api/overview', { headers: own })).code, 200, 'still logged in')
  const how = pair(await authority.issue({ role: 'admin' }))
  for (const host of ['evil.example', 'evil.example:80', 'cairn.evil.example', 'a b', 'cairn:x']) {
    t.not((await ask('/api/overview', { headers: { ...own, host } })).code, 200, host)
    t.not((await metrics({ ...how, headers: { host } })).code, 200, host)
  }
  for (const path of ['/', '/api/overview', '/login.html', '/none']) {
    const { headers } = await ask(path)
    t.regex(String(headers['content-security-policy']), /^default-src 'none';.*frame-ancestors 'none'/)
    t.false(/unsafe|\*|https?:/.test(String(headers['content-security-policy'])))
    t.like(headers, {
      'x-frame-options': 'DENY',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store',
      'cross-origin-resource-policy': 'same-origin',
    })
    t.is(headers['access-control-allow-origin'], undefined)
  }
  const { headers } = await metrics(how)
  t.like(headers, {
    'x-frame-options': 'DENY',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  })
})

test('who guesses waits, and keeps out nobody who comes with a certificate', async t => {
  const at = await world(t)
  for (let count = 0; count < 10; count++)
    t.is((await at.ask('/login', post(at, randomBytes(32).toString('base64url')))).code, 403)
  const good = at.logins.code(ada)
  const late = await at.ask('/login', post(at, good))
  t.is(late.code, 429)
  t.true(Number(late.headers['retry-after']) > 0)
  for (let count = 0; count < 100; count++)
    await at.ask('/api/overview', withCookie(`__Host-cairn=${randomBytes(32).toString('base64url')}`))
  t.is((await at.ask('/api/overview', withCookie(`__Host-cairn=${'A'.repeat(43)}`))).code, 429)
  t.is((await at.ask('/api/overview', pair(await at.authority.issue({ role: 'observer' })))).code, 200)
  for (const bad of ['', 'x'.repeat(5000), 7, null, ['a']])
    t.not((await at.ask('/login', post(at, bad))).code, 200)
  t.is((await at.ask('/login', { ...post(at, ''), body: '{' })).code, 400)
})

test('connections that say nothing make room for one that does', async t => {
  const { port, ask, authority } = await world(t)
  const idle = Array.from({ length: 200 }, () => connectTcp(port, '127.0.0.1'))
  t.teardown(() => idle.forEach(socket => socket.destroy()))
  for (const socket of idle) socket.on('error', () => undefined)
  await Promise.all(idle.map(socket => new Promise(resolve => socket.once('connect', resolve))))
  t.is((await ask('/api/overview', pair(await authority.issue({ role: 'observer' })))).code, 200)
})
