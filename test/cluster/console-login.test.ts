/// <reference lib="dom" />
/** The console and metrics for other machines: set up, logged in to and scraped as an operator does, and attacked. */
import test from 'ava'
import Database from 'better-sqlite3'
import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'node:tls'
import { gunzipSync } from 'node:zlib'
import { openBrowser } from '../support/browser.js'
import { cairnFails } from '../support/cluster.js'
import { tlsCluster, type TlsCluster } from '../support/tls-cluster.js'

interface Login {
  readonly url: string
  readonly code: string
  readonly certificate: string
}

const everywhere = ['--console', '0.0.0.0:0', '--metrics', '0.0.0.0:0']

const served = (log: string, what: string): string => {
  const [, address = ''] = new RegExp(`"address":"([^"]+)"[^\\n]*"${what}"`).exec(log) ?? []
  return address.replace('0.0.0.0', '127.0.0.1')
}

/** As Prometheus asks: by the authority, and the name of the role in the certificate. */
function curl(
  cluster: TlsCluster,
  url: string,
  { identity, name = 'cairn' }: { readonly identity?: string; readonly name?: string },
): string {
  const { host, port, pathname } = new URL(url)
  const args = ['-sS', '--max-time', '60', '--cacert', cluster.at('admin', 'ca.pem'), '-w', '\n%{http_code}']
  if (identity !== undefined) {
    const file = cluster.at(identity, 'identity.pem')
    args.push('--cert', file, '--key', file)
  }
  return execFileSync(
    'curl',
    [...args, '--connect-to', `${name}:${port}:${host}`, `https://${name}:${port}${pathname}`],
    {
      encoding: 'utf8',
    },
  )
}

const login = async (cluster: TlsCluster, identity: string): Promise<Login> => {
  const said = await cairnFails([
    ...['console', 'login', '--json', '--master', cluster.master],
    ...['--identity', cluster.at(identity)],
  ])
  if (said.code !== 0) throw new Error(said.stderr)
  return JSON.parse(said.stdout) as Login
}

test('a browser is let in by a code, sees what its role may, and is out after logout or revocation', async t => {
  const { cluster, masterLog } = await tlsCluster(t, ...everywhere)
  await cluster.join('observer', 'watcher')
  const browser = await openBrowser()
  t.teardown(() => browser.close())
  // Whether the certificate is right is looked at below: the browser has no way to be given an authority.
  const context = await browser.newContext({ ignoreHTTPSErrors: true })
  const page = await context.newPage()
  const wrong: string[] = []
  page.on('pageerror', error => wrong.push(String(error)))

  const { url, code, certificate } = await login(cluster, 'admin')
  t.true(url.endsWith(`/login.html#${code}`))
  const site = new URL('/', url)
  const shown = await new Promise<X509Certificate>((resolve, reject) => {
    const socket = connect(
      { host: site.hostname, port: Number(site.port), ca: readFileSync(cluster.at('admin', 'ca.pem')) },
      () => {
        const { raw } = socket.getPeerCertificate()
        socket.destroy()
        resolve(new X509Certificate(raw))
      },
    )
    socket.on('error', reject)
  })
  t.is(
    shown.fingerprint256,
    certificate,
    'as the command printed it, and good for the address by which it is reached',
  )

  await page.goto(site.href)
  await page.waitForURL(/login\.html$/)
  await page.getByLabel('Code').fill('no code')
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('alert').getByText('this code is not good').waitFor()
  await page.goto(url)
  // The page of the login has the word "cluster", too.
  await page.waitForURL(site.href)
  await page.getByText('cluster ', { exact: false }).first().waitFor()
  t.is(page.url(), site.href, 'the code is not in the address any more')
  await page.getByText('admin (admin)').waitFor()
  t.is(await page.evaluate(() => document.cookie), '', 'no script reads the cookie')
  const [cookie] = await context.cookies()
  t.like(cookie, { httpOnly: true, secure: true, sameSite: 'Strict', name: '__Host-cairn' })
  await page.getByRole('link', { name: 'Files', exact: true }).click()
  await page.getByText('This folder is empty.').waitFor()

  // A page of somewhere else, in the browser that is logged in.
  const evil = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html')
    response.end(`<!doctype html><iframe src="${site.href}"></iframe>`)
  })
  await new Promise<void>(resolve => evil.listen(0, '127.0.0.1', resolve))
  t.teardown(() => evil.close())
  const at = evil.address()
  const other = await context.newPage()
  const said: string[] = []
  other.on('console', message => said.push(message.text()))
  await other.goto(`http://localhost:${String(typeof at === 'object' ? at?.port : 0)}/`)
  const taken = await other.evaluate(async to => {
    const tries = [
      () => fetch(`${to}api/overview`, { credentials: 'include' }).then(answer => answer.text()),
      () => fetch(`${to}logout`, { method: 'POST', credentials: 'include' }).then(answer => answer.text()),
    ]
    return Promise.all(tries.map(attempt => attempt().catch(() => 'blocked')))
  }, site.href)
  t.deepEqual(taken, ['blocked', 'blocked'])
  for (let tries = 0; tries < 200 && !said.some(text => text.includes('frame')); tries++) await sleep(50)
  t.true(
    said.some(text => /frame-ancestors|X-Frame-Options/i.test(text)),
    said.join('\n'),
  )
  await page.reload()
  await page.getByText('admin (admin)').waitFor()

  await page.getByRole('button', { name: 'Log out' }).click()
  await page.waitForURL(/login\.html$/)
  t.deepEqual(await context.cookies(), [])
  await page.goto('about:blank')
  await page.goto(url)
  await page.getByRole('alert').getByText('this code is not good').waitFor()

  const second = await login(cluster, 'watcher')
  await page.goto('about:blank')
  await page.goto(second.url)
  await page.getByText('watcher (observer)').waitFor()
  await page.getByRole('link', { name: 'Files', exact: true }).click()
  await page.getByText('names of files are not for the role observer').waitFor()
  t.is((await cluster.admin('identity', 'revoke', 'watcher')).code, 0)
  await page.waitForURL(/login\.html$/)
  t.regex(masterLog(), /"audit":true,"to":"the console"[^\n]*"role":"observer"[^\n]*"Logged in"/)
  t.regex(masterLog(), /"to":"the console"[^\n]*is revoked[^\n]*"Denied"/)
  t.deepEqual(wrong, [])
})

test('metrics of every daemon are scraped by HTTPS with the certificate of an observer, and by nobody else', async t => {
  const { cluster, masterLog } = await tlsCluster(t, ...everywhere)
  await cluster.join('observer', 'prometheus')
  const node = await cluster.chunkserver(1, '--metrics', '0.0.0.0:0')
  const mount = await cluster.mount('laptop', '--metrics', '0.0.0.0:0')
  const daemons = [
    { of: 'cairn_health', name: 'cairn', at: served(masterLog(), 'Serving metrics') },
    { of: 'cairn_chunkserver_attached', name: 'cairn', at: await servedSoon(node.log) },
    {
      of: 'cairn_mount',
      name: 'mount.cairn',
      at: await servedSoon(() => readFileSync(`${mount}.log`, 'utf8')),
    },
  ]
  for (const { of, name, at } of daemons) {
    const page = `https://${at}/metrics`
    const scraped = curl(cluster, page, { identity: 'prometheus', name })
    t.regex(scraped, /\n200$/, of)
    t.true(scraped.includes(of), `${of}\n${scraped.slice(0, 2000)}`)
    t.regex(curl(cluster, page, { name }), /who are you[^\n]*\n*401$/)
    t.regex(curl(cluster, page, { name, identity: 'laptop-identity' }), /role mount[^\n]*\n*403$/)
    if (name === 'mount.cairn')
      t.throws(
        () => curl(cluster, page, { identity: 'prometheus' }),
        undefined,
        'a mount passes for no master',
      )
  }
  t.is((await cluster.admin('identity', 'revoke', 'prometheus')).code, 0)
  for (const { name, at } of daemons) {
    let answer = ''
    for (let tries = 0; tries < 200 && !answer.endsWith('403'); tries++) {
      answer = curl(cluster, `https://${at}/metrics`, { identity: 'prometheus', name })
      await sleep(50)
    }
    t.regex(answer, /is revoked[^\n]*\n*403$/, at)
  }
})

async function servedSoon(log: () => string): Promise<string> {
  let address = ''
  for (let tries = 0; tries < 1200 && address === ''; tries++) {
    address = served(log(), 'Serving metrics')
    if (address === '') await sleep(50)
  }
  return address
}

test('no secret is in a log, in metrics, in an answer or in what doctor collects', async t => {
  const { cluster, masterLog } = await tlsCluster(t, ...everywhere, '--log-level', 'debug')
  const node = await cluster.chunkserver(1, '--metrics', '0.0.0.0:0', '--log-level', 'debug')
  const token = await cluster.token('mount')
  const mount = await cluster.mount('laptop', '--log-level', 'debug', '--short-circuit', 'off')
  writeFileSync(path.join(mount, 'file'), 'what is in it', { flush: true })
  t.is(readFileSync(path.join(mount, 'file'), 'utf8'), 'what is in it')
  const { code } = await login(cluster, 'admin')
  // Wrong ones, too: what somebody typed may be nearly right.
  const guessed = 'Z'.repeat(43)
  const console = served(masterLog(), 'Serving the console')
  curl(cluster, `https://${console}/login.html?${guessed}`, {})
  await cairnFails([
    'node',
    'join',
    cluster.master,
    '--token',
    `${token.slice(0, -4)}AAAA`,
    '--identity',
    cluster.at('none'),
  ])
  const secrets = new Map<string, string>([
    ['a token', token.slice(-40)],
    ['the half of a token', token.slice(-36, -8)],
    ['a code', code],
    ['a wrong code', guessed],
  ])
  for (const folder of ['authority', 'admin', 'node-1-identity', 'laptop-identity'])
    for (const name of ['identity.pem', 'ca-key.pem'].filter(file =>
      readdirSync(cluster.at(folder)).includes(file),
    )) {
      const [, body = ''] =
        /PRIVATE KEY-----\n([\s\S]*?)-----END/.exec(readFileSync(cluster.at(folder, name), 'utf8')) ?? []
      secrets.set(`${name} of ${folder}`, body.split('\n')[1] ?? '')
    }
  const database = new Database(cluster.at('master', 'master.db'), { readonly: true })
  t.teardown(() => database.close())
  const rows = (sql: string) => database.prepare<[], { secret: Buffer }>(sql).all()
  for (const [at, { secret }] of rows('SELECT key AS secret FROM nodes').entries())
    bothForms(secrets, `the key of node ${String(at)}`, secret)
  for (const [at, { secret }] of rows('SELECT secret FROM sessions').entries())
    bothForms(secrets, `the secret of session ${String(at)}`, secret)
  t.true(secrets.size >= 12, [...secrets.keys()].join())
  for (const [what, secret] of secrets) t.true(secret.length >= 16, what)

  const archive = cluster.at('doctor.tar.gz')
  const doctor = await cluster.admin('doctor', '--out', archive)
  t.not(doctor.code, 2, doctor.stderr)
  const answers = new Map<string, string>([
    ['the log of the master', masterLog()],
    ['the log of the chunkserver', node.log()],
    ['the log of the mount', readFileSync(`${mount}.log`, 'utf8')],
    ['doctor', gunzipSync(readFileSync(archive)).toString('latin1') + doctor.stdout],
    [
      'metrics',
      curl(cluster, `https://${served(masterLog(), 'Serving metrics')}/metrics`, { identity: 'admin' }),
    ],
    [
      'metrics of the node',
      curl(cluster, `https://${await servedSoon(node.log)}/metrics`, { identity: 'admin' }),
    ],
  ])
  for (const question of ['overview', 'live', 'capacity', 'visitor'])
    answers.set(question, curl(cluster, `https://${console}/api/${question}`, { identity: 'admin' }))
  for (const command of [
    ['status'],
    ['identity', 'ls'],
    ['mount', 'ls'],
    ['node', 'ls'],
    ['config', 'show', 'master'],
  ]) {
    const { stdout, stderr } = await (command[0] === 'config'
      ? cairnFails(command)
      : cluster.admin(...command, '--json'))
    answers.set(command.join(' '), stdout + stderr)
  }
  for (const [where, text] of answers) {
    t.true(text.length > 20, where)
    for (const [what, secret] of secrets) t.false(text.includes(secret), `${what} is in ${where}`)
  }
})

function bothForms(secrets: Map<string, string>, what: string, secret: Buffer): void {
  secrets.set(`${what}, in hexadecimal`, secret.toString('hex'))
  secrets.set(`${what}, in base64`, secret.toString('base64').slice(0, 20))
  secrets.set(`${what}, in a list of bytes`, [...secret.subarray(0, 12)].join(','))
}
