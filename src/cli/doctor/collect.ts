/** Collects what helps to understand a cluster from one machine. Nothing that fails here is the end: it is told. */
import { execFile } from 'node:child_process'
import { promises as fs } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Network } from '../../core/network.ts'
import { messageOf } from '../../core/errors.ts'
import { day, KiB, second } from '../../core/units.ts'
import { parseMountTable } from '../../fuse/mounter/mount-table.ts'
import { version } from '../../service/version.ts'
import type { StatusReply } from '../../wire/gen/cairn/v1/admin.ts'
import {
  adminActivity,
  adminLeases,
  adminLocks,
  adminRebalance,
  adminRemovalStatus,
  adminRepairStatus,
  adminStatus,
} from '../../wire/services.ts'
import type { Tls } from '../../wire/tls/tls.ts'
import { ask } from '../admin-client.ts'
import { versions } from '../commands/version.ts'
import { nextSteps } from '../next-steps.ts'
import { jsonText } from '../output.ts'
import { askMetrics } from './ask-metrics.ts'
import type { Facts } from './causes.ts'
import { isSecret, redacted } from './redact.ts'
import type { TarEntry } from './tar.ts'

const run = promisify(execFile)

export interface Where {
  readonly network: Network
  /** Of the master; undefined if none was named. */
  readonly address: string | undefined
  /** Of a cluster on this machine. */
  readonly dir: string | undefined
  /** With whose identity to ask; undefined: without TLS. */
  readonly tls: Tls | undefined
}

export interface Collected {
  readonly entries: readonly TarEntry[]
  readonly facts: Facts
}

/** Of each log that is not older than some days, the end. */
const logDays = 7
const logBytes = 512 * KiB
const patienceMs = 5 * second
const configFolder = '/etc/cairn'
const listed = 500

export async function collect(where: Where): Promise<Collected> {
  const files = new Map<string, string>()
  const status = await cluster(where, files)
  const configs = await configuration(files)
  const logs = await logsOf(where.dir)
  for (const { name, text } of logs) files.set(`logs/${name}`, text)
  const silentDaemons = await metricsOf(configs, files, where.tls)
  const mounts = await mountsHere()
  const disks = await disksOf(['/', '/var/lib/cairn', ...(where.dir === undefined ? [] : [where.dir])])
  files.set('versions.json', jsonText({ ...versions(), kernel: os.release(), os: await osName() }))
  files.set('machine.json', jsonText({ ...machine(), disks, mounts }))
  files.set('environment.json', jsonText(environment()))
  return {
    entries: [...files].map(([name, text]) => ({ name: `cairn-doctor/${name}`, data: Buffer.from(text) })),
    facts: {
      masterError: status.error,
      ownVersion: version,
      masterVersion: status.reply?.program,
      mountVersions: status.reply?.mounts.map(({ program }) => program) ?? [],
      findings: findingsOf(status.reply),
      memory: { totalBytes: os.totalmem(), availableBytes: await availableMemory() },
      load: { perMinute: os.loadavg()[0] ?? 0, processors: os.availableParallelism() },
      ...{ disks, mounts, logs, silentDaemons },
    },
  }
}

const findingsOf = (status: StatusReply | undefined): Facts['findings'] =>
  (status?.findings ?? []).map(found => ({
    what: found.text,
    next: status === undefined ? [] : nextSteps(found, status),
  }))

async function cluster(
  { network, address }: Where,
  files: Map<string, string>,
): Promise<{ readonly reply: StatusReply | undefined; readonly error: string | undefined }> {
  if (address === undefined) {
    files.set('cluster/none.txt', 'no cluster was named\n')
    return { reply: undefined, error: undefined }
  }
  let reply: StatusReply
  try {
    reply = await ask(network, address, adminStatus, {})
  } catch (error) {
    files.set('cluster/status.txt', `${messageOf(error)}\n`)
    return { reply: undefined, error: messageOf(error) }
  }
  files.set('cluster/status.json', jsonText(reply))
  const holdings = { ino: 0n, session: 0n, limit: listed }
  const asked: Readonly<Record<string, Promise<unknown>>> = {
    repair: ask(network, address, adminRepairStatus, {}),
    rebalance: ask(network, address, adminRebalance, { action: 0 }),
    removal: ask(network, address, adminRemovalStatus, {}),
    activity: ask(network, address, adminActivity, {}),
    locks: ask(network, address, adminLocks, holdings),
    leases: ask(network, address, adminLeases, { ...holdings, contended: true }),
  }
  for (const [name, answer] of Object.entries(asked))
    files.set(
      `cluster/${name}.json`,
      await answer.then(jsonText, (error: unknown) => jsonText({ error: messageOf(error) })),
    )
  return { reply, error: undefined }
}

/** The configuration files of this machine, as they are, for what else is learnt from them. */
async function configuration(files: Map<string, string>): Promise<string[]> {
  const texts: string[] = []
  for (const name of await namesIn(configFolder)) {
    if (!name.endsWith('.toml')) continue
    const text = await endOf(path.join(configFolder, name))
    texts.push(text)
    files.set(`config/${name}`, redacted(text))
  }
  return texts
}

async function logsOf(dir: string | undefined): Promise<{ name: string; text: string }[]> {
  const found: { name: string; text: string }[] = []
  for (const folder of ['/var/log/cairn', ...(dir === undefined ? [] : [path.join(dir, 'logs')])])
    for (const name of await namesIn(folder))
      if (name.endsWith('.log') && (await isRecent(path.join(folder, name))))
        found.push({ name, text: redacted(await endOf(path.join(folder, name))) })
  const journal = await output('journalctl', ['-u', 'cairn-*', '-n', '2000', '--no-pager', '-o', 'short-iso'])
  if (journal !== undefined && !/No entries|No journal files/.test(journal))
    found.push({ name: 'journal.log', text: redacted(journal) })
  return found
}

/** Of the daemons whose addresses the configuration has. Returns those that do not answer. */
async function metricsOf(
  configs: readonly string[],
  files: Map<string, string>,
  tls: Tls | undefined,
): Promise<string[]> {
  const addresses = configs.flatMap(text =>
    [...text.matchAll(/^\s*metrics\s*=\s*"([^"]+)"/gm)].map(([, address = '']) => address),
  )
  const silent: string[] = []
  for (const address of new Set(addresses)) {
    if (address === 'off') continue
    const { url, answer } = askMetrics(address, tls)
    try {
      const { code, text } = await answer
      files.set(`metrics/${address.replaceAll(/[^\w.-]/g, '-')}.txt`, text)
      if (code !== 200) silent.push(`${url} (${text.trim()})`)
    } catch (error) {
      silent.push(`${url} (${messageOf(error)})`)
    }
  }
  return silent
}

/** Asked by a process of its own: who asks a mount that hangs, hangs. */
async function mountsHere(): Promise<{ path: string; trouble: string | undefined }[]> {
  const table = parseMountTable(await fs.readFile('/proc/self/mountinfo', 'utf8'))
  return Promise.all(
    table
      .filter(({ type }) => type === 'fuse.cairn')
      .map(async ({ path: target }) => {
        try {
          await run('stat', ['-f', target], { timeout: patienceMs, killSignal: 'SIGKILL' })
          return { path: target, trouble: undefined }
        } catch (error) {
          const { killed, stderr } = error as { readonly killed?: boolean; readonly stderr?: string }
          const said = stderr?.trim() ?? ''
          return { path: target, trouble: killed === true ? 'it does not answer' : said || messageOf(error) }
        }
      }),
  )
}

async function disksOf(folders: readonly string[]): Promise<Facts['disks']> {
  const found = await Promise.all(
    folders.map(async folder => {
      try {
        const { blocks, bavail, bsize } = await fs.statfs(folder)
        return [{ folder, totalBytes: blocks * bsize, freeBytes: bavail * bsize }]
      } catch {
        // There is no such folder here, which is as well.
        return []
      }
    }),
  )
  return found.flat()
}

const machine = (): object => ({
  host: os.hostname(),
  processors: os.availableParallelism(),
  load: os.loadavg(),
  memoryBytes: os.totalmem(),
  uptimeSeconds: os.uptime(),
})

const environment = (): object =>
  Object.fromEntries(
    Object.entries(process.env)
      .filter(([name]) => name.startsWith('CAIRN_'))
      .map(([name, value]) => [name, isSecret(name) ? '(left out)' : redacted(value ?? '')]),
  )

async function availableMemory(): Promise<number> {
  const [, kib] = /^MemAvailable:\s+(\d+) kB/m.exec(await endOf('/proc/meminfo')) ?? []
  return kib === undefined ? os.freemem() : Number(kib) * KiB
}

async function osName(): Promise<string> {
  return /^PRETTY_NAME="?([^"\n]+)/m.exec(await endOf('/etc/os-release'))?.[1] ?? ''
}

/** The end of a file; why it cannot be read, if so. */
async function endOf(file: string): Promise<string> {
  try {
    const text = await fs.readFile(file)
    return text.subarray(-logBytes).toString()
  } catch (error) {
    return `# ${messageOf(error)}\n`
  }
}

/** What was written long ago tells nothing of today. */
async function isRecent(file: string): Promise<boolean> {
  try {
    return Date.now() - (await fs.stat(file)).mtimeMs < logDays * day
  } catch {
    // It went meanwhile.
    return false
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await fs.readdir(folder)).sort()
  } catch {
    // It is not there, or not for us.
    return []
  }
}

/** Undefined where there is no such program. */
async function output(program: string, args: readonly string[]): Promise<string | undefined> {
  try {
    const { stdout } = await run(program, args, { timeout: patienceMs, maxBuffer: 16 << 20 })
    return stdout
  } catch {
    return undefined
  }
}
