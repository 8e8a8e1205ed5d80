import test from 'ava'
import { request } from 'node:http'
import { ConsoleServer } from '#src/console/console-server.ts'
import type { ExtentsAnswer, FolderAnswer, OverviewAnswer } from '#src/console/answers.ts'
import { silentLog } from '#src/core/env.ts'
import { FsError, UsageError } from '#src/core/errors.ts'
import { realEnv } from '#src/env/real-env.ts'
import { FakeCluster } from './fixture.js'

interface Answer {
  readonly code: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly text: string
}

const start = async (cluster: FakeCluster) => ConsoleServer.listen(realEnv(silentLog), '127.0.0.1:0', cluster)

/** As it stands: `fetch` would tidy the path up and set the host itself. */
const get = (address: string, path: string, method = 'GET', host = address): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const [name, port] = address.split(':')
    const asked = request({ host: name, port, path, method, headers: { host } }, response => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.on('end', () => {
        resolve({
          code: response.statusCode ?? 0,
          headers: response.headers,
          text: Buffer.concat(parts).toString(),
        })
      })
    })
    asked.on('error', reject)
    asked.end()
  })

test('the overview tells of health, nodes, mounts and work, and the master is asked once for all who look', async t => {
  const cluster = new FakeCluster()
  const server = await start(cluster)
  t.teardown(() => server.close())
  const before = cluster.asked.length
  const answers = await Promise.all(
    Array.from({ length: 10 }, async () => get(server.address, '/api/overview')),
  )
  t.true(cluster.asked.length - before <= 2, 'one for the pages, perhaps one for the history')
  const overview = JSON.parse(answers[9]?.text ?? '') as OverviewAnswer
  t.like(overview, { health: 'degraded', inodes: 2, cluster: 'ab'.repeat(16), nodesTotal: 1, growth: null })
  t.like(overview.nodes[0], { id: '1', state: 'down', usedBytes: 10, totalBytes: 100, draining: null })
  t.like(overview.mounts[0], { session: '7', path: '/mnt', dirtyBytes: 3 })
  t.like(overview.blocks, { total: 1, underReplicated: 1, missing: 0 })
  t.is(overview.repair.bytesPerSecond, 5)
  t.is(overview.rebalance.fullestPermille, 100)
  t.deepEqual(overview.findings[0]?.steps, ['start it'])
})

test('folders and blocks are told in pages; names that are no text are shown so that they do no harm', async t => {
  const cluster = new FakeCluster()
  const server = await start(cluster)
  t.teardown(() => server.close())
  const folder = JSON.parse(
    (await get(server.address, '/api/folder?path=/a%2Fb&limit=1')).text,
  ) as FolderAnswer
  t.true(cluster.asked.includes('browse /a/b after 0 up to 1'))
  t.like(folder, { kind: 'folder', mode: '0755', after: '9' })
  const [entry] = folder.entries
  t.like(entry, { name: '<b>\\xff\\u{000a}', part: '%3Cb%3E%FF%0A', kind: 'file', size: 5 })
  const last = JSON.parse((await get(server.address, '/api/folder?path=&after=9')).text) as FolderAnswer
  t.is(last.after, null)

  const blocks = JSON.parse(
    (await get(server.address, `/api/blocks?path=/${entry?.part ?? ''}&limit=1`)).text,
  ) as ExtentsAnswer
  t.true(cluster.asked.includes('extents 2 from 0 up to 1'))
  t.like(blocks, { total: 2, after: '5', kind: 'file' })
  t.like(blocks.extents[0], { offset: 0, length: 5, block: 'cd'.repeat(32), copiesWanted: 2 })
  t.deepEqual(blocks.extents[0]?.copies, [{ node: '1', address: '10.0.0.2:9421', zone: 'z' }])
})

test('what is no question is refused before the master hears of it', async t => {
  const cluster = new FakeCluster()
  const server = await start(cluster)
  t.teardown(() => server.close())
  const refused = [
    '/api/folder?path=%',
    '/api/folder?path=%G0',
    '/api/folder?path=/a&path=/b',
    '/api/folder?path=/a&x=1',
    '/api/folder?path=/a&limit=501',
    '/api/folder?path=/a&limit=-1',
    '/api/folder?path=/a&limit=',
    '/api/folder?after=99999999999999999999',
    '/api/blocks?path=/a&offset=1e3',
    '/api/blocks?path=/a&offset=9007199254740993',
    '/api/live?since=x',
    '/api/overview?x',
  ]
  for (const path of refused) {
    const { code, text } = await get(server.address, path)
    t.is(code, 400, path)
    t.true((JSON.parse(text) as { error: string }).error.length > 0)
  }
  t.false(cluster.asked.some(question => question.startsWith('browse')))
  for (const path of [
    '/api/',
    '/api/setDraining',
    '/api/../package.json',
    '/../answers.js',
    '/console-server.js',
    '//etc/passwd',
  ])
    t.is((await get(server.address, path)).code, 404, path)
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'])
    t.is((await get(server.address, '/api/overview', method)).code, 405)
  t.is((await get(server.address, '/api/folder?path=/none')).code, 404)
  t.is((await get(server.address, '/api/overview', 'HEAD')).text, '')
})

test('a page of somewhere else cannot read it under a name of its own', async t => {
  const server = await start(new FakeCluster())
  t.teardown(() => server.close())
  for (const host of ['evil.example', 'evil.example:80', '127.0.0.1.evil.example', '10.1.2.3:9480'])
    t.is((await get(server.address, '/api/overview', 'GET', host)).code, 421, host)
  for (const host of ['localhost', 'LOCALHOST:1', '127.0.0.1', '[::1]:9480'])
    t.is((await get(server.address, '/api/overview', 'GET', host)).code, 200, host)
  const { headers } = await get(server.address, '/')
  t.regex(
    String(headers['content-security-policy']),
    /^default-src 'none'; script-src 'self' 'sha256-[^']+';/,
  )
  t.false(/unsafe|\*|https?:/.test(String(headers['content-security-policy'])))
  t.is(headers['access-control-allow-origin'], undefined)
  t.is(headers['x-content-type-options'], 'nosniff')
})

test('everything that the page names is served, and nothing from anywhere else', async t => {
  const server = await start(new FakeCluster())
  t.teardown(() => server.close())
  const { text } = await get(server.address, '/')
  t.false(/(src|href)="(https?:)?\/\//.test(text))
  const files = [...text.matchAll(/(?:src|href)="([^"]+)"|"\.\/(vendor\/[^"]+)"/g)].map(
    ([, one, other]) => one ?? other ?? '',
  )
  t.true(files.length >= 8)
  for (const file of files) t.is((await get(server.address, `/${file}`)).code, 200, file)
})

test('while the master cannot answer it says so, and an address that is taken is a clear failure', async t => {
  const cluster = new FakeCluster()
  const server = await start(cluster)
  t.teardown(() => server.close())
  cluster.failing = new FsError('ECANCELED', 'The master is stopping')
  const { code, text } = await get(server.address, '/api/overview')
  t.is(code, 503)
  t.deepEqual(JSON.parse(text), { error: 'The master is stopping' })
  cluster.failing = undefined
  t.is((await get(server.address, '/api/overview')).code, 200, 'a failure is not kept')
  await t.throwsAsync(ConsoleServer.listen(realEnv(silentLog), server.address, cluster), {
    instanceOf: UsageError,
    message: `cannot serve the console on ${server.address}: it is in use`,
  })
})
