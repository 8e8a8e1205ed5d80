/**
 * `make bench-repair`: how fast the copies of a chunkserver that is gone for good are made anew, beside how fast a plain
 * program copies as much on this machine, from one folder to another and through the loopback device. Four
 * chunkservers, three copies, default settings but for the time that a node is waited for.
 */
import { randomFillSync } from 'node:crypto'
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { dropCaches } from '../caches.ts'
import { commitName, describeMachine } from '../report/results.ts'
import { makeScratch, removeLeftovers, removeScratch } from '../scratch.ts'
import { type Amount, plainCopy } from './plain-copy.ts'
import { BareCluster } from '../sides/bare-cluster.ts'
import { UserWork } from './user-work.ts'

const { values } = parseArgs({
  options: {
    files: { type: 'string', default: '20000' },
    'big-mib': { type: 'string', default: '2048' },
    kinds: { type: 'string', default: 'large,small,beside' },
    dir: { type: 'string', default: os.tmpdir() },
    /** Where the results are kept; by default nowhere but on the screen. */
    into: { type: 'string' },
  },
})

const nodes = 4
/** The least part of a plain program's rate that is good enough. */
const goal = 0.6
const MiB = 1 << 20
const blockBytes = 4 * MiB
const smallBytes = 4096
const filesOfFolder = 1000
const userMs = 5000
/** Of one large file. */
const largeBlocks = 16
/** What three nodes copy at a time: chunkserver/copy/copier.ts. */
const parallel = { large: 12, small: 768, beside: 12 }

/** `beside`: large blocks, while a user makes files. */
type Kind = keyof typeof parallel

interface Result {
  readonly kind: Kind
  readonly blocks: number
  readonly bytesEach: number
  readonly seconds: number
  readonly plainSeconds: number
  /** Processor seconds while copies were made, by process. */
  readonly processorSeconds: Record<string, number>
  readonly peaksMiB: Record<string, number>
  /** Files that a user made each second, before anything was copied and meanwhile. */
  readonly userRates?: number[]
}

async function main(): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error('it mounts file systems and drops caches: run it as root')
  await removeLeftovers(values.dir)
  const results: Result[] = []
  for (const kind of values.kinds.split(',')) {
    if (!isKind(kind)) throw new Error(`--kinds: ${kind} is none of ${Object.keys(parallel).join(', ')}`)
    results.push(await measure(kind))
  }
  const commit = commitName()
  const report = {
    version: 1,
    commit,
    measured: new Date().toISOString(),
    machine: describeMachine(values.dir),
    loads: os.loadavg(),
    results,
  }
  if (values.into !== undefined) writeFileSync(values.into, `${JSON.stringify(report, undefined, 2)}\n`)
}

const isKind = (word: string): word is Kind => Object.hasOwn(parallel, word)

async function measure(kind: Kind): Promise<Result> {
  const scratch = makeScratch(values.dir)
  const cluster = new BareCluster(scratch, { masterFlags: ['--repair-delay', '3'] })
  const interrupted = (): void => void cluster.stop().finally(() => process.exit(130))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, interrupted)
  let user: UserWork | undefined
  const userRates: number[] = []
  try {
    await cluster.start(nodes)
    const bytesEach = fill(cluster.mount, kind)
    await dropCaches()
    if (kind === 'beside') {
      user = new UserWork(cluster.mount)
      await sleep(userMs)
      userRates.push(user.rate())
    }
    await cluster.kill(`chunkserver-${String(nodes)}`)
    const restored = await restore(cluster, () => user?.rate())
    if (user !== undefined) userRates.push(user.rate())
    await user?.end()
    const peaksMiB = Object.fromEntries(cluster.names.map(name => [name, peakOf(cluster.pidOf(name))]))
    await cluster.stop()
    const amount: Amount = { blocks: restored.blocks, bytesEach, parallel: parallel[kind] }
    const plainSeconds = await plainCopy(scratch, amount)
    const result = {
      kind,
      bytesEach,
      plainSeconds,
      peaksMiB,
      ...restored,
      ...(user === undefined ? {} : { userRates }),
    }
    tell(result)
    return result
  } finally {
    await user?.end().catch(() => undefined)
    await cluster.stop()
    removeScratch(scratch)
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, interrupted)
  }
}

/** Returns how large each block is. */
function fill(mount: string, kind: Kind): number {
  const bytes = Buffer.allocUnsafe(kind === 'small' ? smallBytes : blockBytes)
  const write = (file: string, blocks: number): void => {
    const fd = openSync(file, 'wx')
    for (let block = 0; block < blocks; block++) writeSync(fd, randomFillSync(bytes))
    closeSync(fd)
  }
  if (kind !== 'small')
    for (let file = 0; file < Number(values['big-mib']) / 4 / largeBlocks; file++)
      write(path.join(mount, String(file)), largeBlocks)
  else
    for (let file = 0; file < Number(values.files); file++) {
      const folder = path.join(mount, String(Math.floor(file / filesOfFolder)))
      if (file % filesOfFolder === 0) mkdirSync(folder)
      write(path.join(folder, String(file)), 1)
    }
  const fd = openSync(mount, 'r')
  fsyncSync(fd)
  closeSync(fd)
  return bytes.length
}

/** From the first copy that was made until all are there. */
async function restore(
  cluster: BareCluster,
  began: () => void,
): Promise<Omit<Result, 'kind' | 'bytesEach' | 'plainSeconds' | 'peaksMiB'>> {
  const lacking = async (): Promise<number> =>
    (await cluster.metrics()).get('cairn_blocks_under_replicated') ?? Number.NaN
  const times = (): [string, number][] => {
    const own = cluster.names.map((name): [string, number] => [name, processorSeconds(cluster.pidOf(name))])
    const { busy, idle } = machineSeconds()
    return [
      ...own,
      ['rest of the machine', busy - own.reduce((sum, [, time]) => sum + time, 0)],
      ['idle', idle],
    ]
  }
  let most = 0
  let beganMs = performance.now()
  let before = times()
  for (;;) {
    const left = await lacking()
    if (left > most) most = left
    // Nothing is copied before the node is given up.
    if (left === most) {
      beganMs = performance.now()
      before = times()
      began()
    }
    if (most > 0 && left === 0) break
    await sleep(100)
  }
  const seconds = (performance.now() - beganMs) / 1000
  const spent = new Map(before)
  return {
    blocks: most,
    seconds,
    processorSeconds: Object.fromEntries(
      times().map(([name, time]) => [name, time - (spent.get(name) ?? 0)]),
    ),
  }
}

function tell({ kind, blocks, bytesEach, seconds, plainSeconds, ...more }: Result): void {
  const rate = (time: number): string =>
    `${(blocks / time).toFixed(0)} blocks/s, ${((blocks * bytesEach) / MiB / time).toFixed(1)} MiB/s`
  const part = plainSeconds / seconds
  console.log(`${kind}: ${String(blocks)} blocks of ${String(bytesEach)} bytes`)
  console.log(`  restored in ${seconds.toFixed(1)} s: ${rate(seconds)}`)
  console.log(`  a plain program: ${plainSeconds.toFixed(1)} s: ${rate(plainSeconds)}`)
  console.log(`  ${(part * 100).toFixed(0)} % of it (goal: ${String(goal * 100)} %)`)
  if (more.userRates !== undefined)
    console.log(
      `  a user's synced files a second, before and meanwhile: ${more.userRates.map(rate => rate.toFixed(0)).join(', ')}`,
    )
  for (const [what, numbers] of [
    ['processor s', more.processorSeconds],
    ['peak MiB', more.peaksMiB],
  ] as const)
    console.log(
      `  ${what}: ${Object.entries(numbers)
        .map(([name, value]) => `${name} ${value.toFixed(1)}`)
        .join(', ')}`,
    )
}

/** User and system time of a process. */
function processorSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Of all processors since the start. */
function machineSeconds(): { busy: number; idle: number } {
  const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0] =
    /^cpu +(.*)$/m.exec(readFileSync('/proc/stat', 'utf8'))?.[1]?.split(' ').map(Number) ?? []
  return { busy: (user + nice + system + irq + soft) / 100, idle: (idle + wait) / 100 }
}

function peakOf(pid: number): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${String(pid)}/status`, 'utf8'))?.[1]) / 1024
}

try {
  await main()
} catch (error) {
  process.stderr.write(`bench-repair: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
process.exit()
