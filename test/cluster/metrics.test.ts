/** Metrics of real daemons: what is scraped, and that the dashboard and the alert rules name nothing else. */
import test from 'ava'
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { cairn, cairnProgram } from '../support/cluster.ts'

const root = new URL('../../../', import.meta.url)
const running: Daemon[] = []
let folder = ''

interface Daemon {
  readonly child: ChildProcess
  /** Where it serves. */
  readonly address: string
  /** Where its metrics are. */
  readonly metrics: string
}

test.before(() => {
  folder = mkdtempSync(join(tmpdir(), 'cairn-metrics-'))
  chmodSync(folder, 0o755)
})

test.after.always(async () => {
  for (const { child } of running.reverse()) {
    if (child.exitCode !== null || child.signalCode !== null) continue
    const ended = new Promise(resolve => child.once('exit', resolve))
    child.kill('SIGTERM')
    await ended
  }
  rmSync(folder, { recursive: true, force: true })
})

/** Starts `cairn ARGS` and waits until it is ready. Its log tells where the metrics are. */
async function start(...args: string[]): Promise<Daemon> {
  const child = spawn(
    process.execPath,
    [cairnProgram, ...args, '--no-config', '--metrics', '127.0.0.1:0', '--log-format', 'json'],
    { stdio: ['ignore', 'ignore', 'pipe', 'pipe'], env: { ...process.env, CAIRN_READY_FD: '3' } },
  )
  let metrics = ''
  const said: string[] = []
  const served = new Promise<void>(resolve => {
    createInterface({ input: child.stderr as Readable }).on('line', line => {
      said.push(line)
      if (!line.startsWith('{')) return
      const record = JSON.parse(line) as { msg: string; address?: string }
      if (record.msg !== 'Serving metrics') return
      metrics = record.address ?? ''
      resolve()
    })
  })
  const ready = await new Promise<string>(resolve => {
    createInterface({ input: child.stdio[3] as Readable }).once('line', resolve)
    child.once('exit', () => resolve(''))
  })
  if (!ready.includes('"ready":true')) throw new Error(`${args.join(' ')}: ${ready} ${said.join('\n')}`)
  await served
  const daemon = { child, address: (JSON.parse(ready) as { address?: string }).address ?? '', metrics }
  running.push(daemon)
  return daemon
}

async function get(daemon: Daemon, path: string): Promise<{ code: number; body: string }> {
  const response = await fetch(`http://${daemon.metrics}${path}`)
  return { code: response.status, body: await response.text() }
}

async function scrape(daemon: Daemon): Promise<Map<string, number>> {
  const { code, body } = await get(daemon, '/metrics')
  if (code !== 200) throw new Error(body)
  const samples = body
    .split('\n')
    .filter(line => line !== '' && !line.startsWith('#'))
    .map(line => {
      const end = line.lastIndexOf(' ')
      return [line.slice(0, end), Number(line.slice(end + 1))] as const
    })
  return new Map(samples)
}

const namesOf = (metrics: ReadonlyMap<string, number>): string[] => [
  ...new Set([...metrics.keys()].map(series => series.split('{')[0] ?? '')),
]

test.serial('real daemons count what happens, and say whether they are ready', async t => {
  const master = await start(
    'master',
    '--data',
    join(folder, 'master'),
    '--listen',
    '127.0.0.1:0',
    '--copies',
    '2',
  )
  const nodes = []
  for (const name of ['a', 'b'])
    nodes.push(
      await start(
        ...['chunkserver', '--data', join(folder, name), '--master', master.address],
        ...['--listen', '127.0.0.1:0'],
      ),
    )
  const path = join(folder, 'mnt')
  mkdirSync(path)
  const mount = await start('mount', master.address, path, '--foreground')
  const all = [master, ...nodes, mount]
  for (const daemon of all) {
    t.is((await get(daemon, '/healthz')).body, 'ok\n')
    t.is((await get(daemon, '/readyz')).body, 'ok\n')
  }
  const before = await scrape(mount)
  t.is(before.get('cairn_mount_stored_bytes_total'), 0)

  const content = Buffer.alloc(300_000, 'metrics')
  writeFileSync(join(path, 'file'), content)
  mkdirSync(join(path, 'folder'))
  writeFileSync(join(path, 'folder', 'empty'), '')
  t.throws(() => rmdirSync(join(path, 'folder')), { code: 'ENOTEMPTY' })
  await cairn(['sync', path])
  t.deepEqual(readFileSync(join(path, 'file')), content)

  const ofMount = await scrape(mount)
  t.is(ofMount.get('cairn_mount_attached'), 1)
  t.is(ofMount.get('cairn_mount_stored_bytes_total'), content.length)
  t.is(ofMount.get('cairn_mount_dirty_bytes'), 0)
  t.is(ofMount.get('cairn_mount_blocks_given_up_total'), 0)
  t.true((ofMount.get('cairn_mount_request_seconds_count{operation="WRITE"}') ?? 0) > 0)
  t.true((ofMount.get('cairn_mount_request_errors_total{operation="RMDIR",error="ENOTEMPTY"}') ?? 0) > 0)
  t.true((ofMount.get('cairn_mount_call_seconds_count{operation="commit"}') ?? 0) > 0)

  const ofMaster = await scrape(master)
  t.is(ofMaster.get('cairn_health{health="ok"}'), 1)
  t.is(ofMaster.get('cairn_mounts'), 1)
  t.is(ofMaster.get('cairn_blocks_under_replicated'), 0)
  t.is(ofMaster.get('cairn_block_bytes'), content.length)
  t.true((ofMaster.get('cairn_master_call_seconds_count{operation="commit"}') ?? 0) > 0)
  t.true((ofMaster.get('cairn_master_step_seconds_count{operation="step"}') ?? 0) > 0)
  const up = [...ofMaster].filter(([series]) => series.startsWith('cairn_node_up{'))
  t.deepEqual(
    up.map(([, value]) => value),
    [1, 1],
  )

  for (const node of nodes) {
    const ofNode = await scrape(node)
    t.is(ofNode.get('cairn_chunkserver_attached'), 1)
    t.is(ofNode.get('cairn_chunkserver_received_bytes_total'), content.length)
    t.is(ofNode.get('cairn_chunkserver_operation_seconds_count{operation="put"}'), 1)
    t.true((ofNode.get('cairn_process_resident_memory_bytes') ?? 0) > 1e6)
  }

  // Every name that the dashboard and the alert rules use is one of these, and every one of these is documented.
  const exist = new Set((await Promise.all(all.map(scrape))).flatMap(namesOf))
  const dashboard = JSON.parse(readFileSync(new URL('ops/grafana/cairn.json', root), 'utf8')) as {
    panels: { targets: { expr: string }[] }[]
  }
  const rules = readFileSync(new URL('ops/prometheus/cairn-alerts.yml', root), 'utf8')
  const expressions = [
    ...dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
    ...rules.split('\n').filter(line => !/alert:|name:|summary:|^#/.test(line)),
  ]
  const used = new Set(expressions.flatMap(text => text.match(/\bcairn_\w+/g) ?? []))
  t.true(used.size > 25)
  // Nothing has failed or was given up here that these count.
  const optional = new Set(['cairn_chunkserver_operation_errors_total'])
  for (const name of used) t.true(exist.has(name) || optional.has(name), `${name} does not exist`)
  const page = readFileSync(new URL('docs/operations.md', root), 'utf8')
  for (const name of exist) {
    const base = name.replace(/_(bucket|sum|count)$/, '')
    t.true(page.includes(`\`${base}\``), `docs/operations.md does not tell of ${base}`)
  }
  for (const [, alert] of rules.matchAll(/alert: (\w+)/g))
    t.true(
      page.includes(`**${alert ?? ''}**`),
      `docs/operations.md does not say what to do about ${alert ?? ''}`,
    )

  // Without its master a node serves on, but says that nobody counts on it.
  const ended = new Promise(resolve => master.child.once('exit', resolve))
  master.child.kill('SIGKILL')
  await ended
  const [node] = nodes
  if (node === undefined) throw new Error('no node')
  for (let waited = 0; (await get(node, '/readyz')).code === 200 && waited < 30_000; waited += 100)
    await sleep(100)
  t.deepEqual(await get(node, '/readyz'), {
    code: 503,
    body: `not attached to the master at ${master.address}\n`,
  })
  t.is((await get(node, '/healthz')).code, 200)
  for (let waited = 0; (await get(mount, '/readyz')).code === 200 && waited < 30_000; waited += 100)
    await sleep(100)
  t.is((await get(mount, '/readyz')).code, 503)
  await start('master', '--data', join(folder, 'master'), '--listen', master.address)
  for (let waited = 0; (await get(mount, '/readyz')).code !== 200 && waited < 60_000; waited += 100)
    await sleep(100)
  t.is((await get(mount, '/readyz')).code, 200)
})
