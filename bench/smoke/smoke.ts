/**
 * `make bench-smoke`: does every row's work at a small size and compares what it counts (round trips by kind, syncs,
 * bytes on the wire) with what was recorded in bench/smoke.json. None of it depends on how fast the machine is, but
 * for what goes on beside, which the limits leave room for. Only growth is an error.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import {
  countingEnvironment,
  growth,
  listeningEnvironment,
  type Metrics,
  metricsAddress,
  scrape,
} from '../profile/scrape.ts'
import { order, threadsIn } from '../profile/threads.ts'
import { groupsOf } from '../rows/groups.ts'
import type { Row, Sizes } from '../rows/row.ts'
import { makeScratch, removeLeftovers, removeScratch } from '../scratch.ts'
import { CairnSide } from '../sides/cairn.ts'
import { stopWork, work } from '../worker.ts'
import { type Counts, countsOf, fellTo, limitOf } from './counts.ts'

const recordFile = path.resolve('bench/smoke.json')
const howToRecord = 'if that is meant, record it: make bench-smoke RECORD=1, and say why in the commit'

/** What grew did so each time. */
const attemptsMax = 3

const folders = 8
const filesOfFolder = 8

interface Recorded {
  readonly sizes: Omit<Sizes, 'tree'>
  readonly rows: Record<string, Counts>
}

interface Counted {
  readonly row: Row
  readonly counts: Counts
  readonly seconds: number
}

const sizes: Omit<Sizes, 'tree'> = { files: 120, bigMiB: 24, randoms: 300 }

class Smoke {
  readonly scratch = makeScratch(os.tmpdir())
  readonly #sockets = path.join(this.scratch, 'threads')
  readonly side: CairnSide
  readonly #sizes: Sizes = { ...sizes, tree: path.join(this.scratch, 'source') }

  constructor() {
    mkdirSync(this.#sockets)
    this.side = new CairnSide(this.scratch, {
      ...countingEnvironment(),
      ...listeningEnvironment(this.#sockets),
      // As from another machine: how soon a node's files are found to be near is a matter of time.
      CAIRN_MOUNT_SHORT_CIRCUIT: 'off',
    })
  }

  /**
   * All rows, on a cluster of its own. A group with a row that `isFine` denies is done again: on a machine that is very
   * busy a lease may lapse, or a copy be asked for twice, and that is no change of what is counted.
   */
  async run(isFine: (counted: Counted) => boolean): Promise<void> {
    makeTree(this.#sizes.tree ?? '')
    await this.side.start()
    // What several jobs of fio do at once is never twice the same.
    for (const group of groupsOf(this.#sizes, this.scratch).filter(({ key }) => key !== 'fio'))
      for (let attempt = 1, fine = false; !fine && attempt <= attemptsMax; attempt++) {
        fine = true
        for (const row of group.rows) if (!isFine(await this.#count(row))) fine = false
      }
  }

  async #count(row: Row): Promise<Counted> {
    const task = { sizes: this.#sizes, scratch: this.scratch, row: row.key, dir: this.side.dir }
    await work({ ...task, phase: 'prepare', settle: true })
    if (row.cold === true) await this.side.remount()
    const before = await this.#look()
    const began = performance.now()
    // What is written later belongs to it.
    await work({ ...task, phase: 'run', settle: true })
    const after = await this.#look()
    const growths = [...after.metrics].map(([role, metrics]) =>
      growth(before.metrics.get(role) ?? new Map(), metrics),
    )
    const wire = {
      'bytes from the mount to the master': after.sent - before.sent,
      'bytes from the master to the mount': after.received - before.received,
    }
    return { row, counts: countsOf(row, growths, wire), seconds: (performance.now() - began) / 1000 }
  }

  async #look(): Promise<{ metrics: Map<string, Metrics>; sent: number; received: number }> {
    const metrics = new Map<string, Metrics>()
    const processes = this.side.processes()
    let sent = 0
    let received = 0
    for (const { role, pid } of processes) {
      const log = role === 'mount' ? this.side.mountLog : path.join(this.side.cluster, 'logs', `${role}.log`)
      const address = metricsAddress(log)
      if (address === undefined) throw new Error(`${log} does not say where its metrics are`)
      metrics.set(role, await scrape(address))
      if (role !== 'mount') continue
      const mainThread = threadsIn(this.#sockets, () => true).find(
        each => each.pid === pid && each.thread === 'main',
      )
      if (mainThread === undefined) throw new Error('the mount does not listen for orders')
      const moved = JSON.parse(await order(mainThread, 'bytes')) as Record<
        string,
        { sent: number; received: number }
      >
      const ofMaster = moved[this.side.master]
      if (ofMaster === undefined)
        throw new Error(
          `the mount has no connection to ${this.side.master}: ${Object.keys(moved).join(', ')}`,
        )
      sent = ofMaster.sent
      received = ofMaster.received
    }
    return { metrics, sent, received }
  }
}

/** Always the same. */
function makeTree(root: string): void {
  for (let folder = 0; folder < folders; folder++) {
    const name = path.join(root, `folder-${String(folder)}`)
    mkdirSync(name, { recursive: true })
    for (let file = 0; file < filesOfFolder; file++)
      writeFileSync(
        path.join(name, `file-${String(file)}`),
        `${String(folder)} ${String(file)}\n`.repeat(200 * (file + 1)),
      )
  }
}

/** One line for each count that grew too much. */
function compare({ row, counts, seconds }: Counted, recorded: Counts | undefined): string[] {
  if (recorded === undefined) return [`${row.name}: nothing is recorded for it; ${howToRecord}`]
  const findings: string[] = []
  for (const [count, value] of Object.entries(counts)) {
    const was = recorded[count] ?? 0
    const limit = limitOf(count, was, seconds)
    if (value > limit) findings.push(`${row.name}: ${count} grew from ${was} to ${value} (limit ${limit})`)
  }
  return findings
}

function fell({ row, counts }: Counted, recorded: Counts | undefined): string[] {
  return Object.entries(recorded ?? {})
    .filter(([count, was]) => (counts[count] ?? 0) < fellTo(count, was))
    .map(
      ([count, was]) =>
        `${row.name}: ${count} fell from ${was} to ${counts[count] ?? 0}: record it, so that it stays`,
    )
}

async function runOnce(isFine: (counted: Counted) => boolean): Promise<void> {
  const smoke = new Smoke()
  const interrupted = new Promise<never>((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.once(signal, () => reject(new Error(signal)))
  })
  interrupted.catch(() => undefined)
  try {
    await Promise.race([smoke.run(isFine), interrupted])
  } finally {
    stopWork()
    try {
      await smoke.side.stop()
    } finally {
      removeScratch(smoke.scratch)
    }
  }
}

/** The most of several runs: what depends on timing is recorded at its worst. */
async function record(runs: number): Promise<void> {
  const rows: Record<string, Counts> = {}
  for (let run = 0; run < runs; run++)
    await runOnce(({ row, counts }) => {
      const most = (rows[row.key] ??= {})
      for (const [count, value] of Object.entries(counts)) most[count] = Math.max(value, most[count] ?? 0)
      return true
    })
  const recorded: Recorded = { sizes, rows }
  writeFileSync(recordFile, `${JSON.stringify(recorded, undefined, 2)}\n`)
  console.log(`${recordFile}: ${Object.keys(rows).length} rows, the most of ${runs} runs`)
}

async function check(): Promise<{ passed: number; findings: string[] }> {
  const recorded = JSON.parse(readFileSync(recordFile, 'utf8')) as Recorded
  if (JSON.stringify(recorded.sizes) !== JSON.stringify(sizes))
    return { passed: 0, findings: [`bench/smoke.json is of other sizes; ${howToRecord}`] }
  const findings = new Map<string, string[]>()
  await runOnce(counted => {
    const { key, name } = counted.row
    const of = recorded.rows[key]
    const found = compare(counted, of)
    // Once as recorded is enough.
    if (findings.get(key)?.length !== 0) findings.set(key, found)
    console.log(`${found.length === 0 ? '✔' : '✘'} ${name}`)
    for (const line of [...found, ...fell(counted, of)]) console.log(`    ${line}`)
    return findings.get(key)?.length === 0
  })
  const all = [...findings.values()]
  return { passed: all.filter(found => found.length === 0).length, findings: all.flat() }
}

const { values } = parseArgs({ options: { record: { type: 'boolean', default: false } } })
if (process.getuid?.() !== 0) throw new Error('it mounts a file system: run it as root')
await removeLeftovers(os.tmpdir())
if (values.record) await record(3)
else {
  const { passed, findings } = await check()
  if (findings.length > 0) console.log(`\n${findings.join('\n')}\n${howToRecord}`)
  console.log(`${passed} rows as recorded, ${findings.length} counts grew`)
  const results = process.env['CAIRN_TEST_RESULTS']
  if (results !== undefined)
    writeFileSync(
      path.join(results, 'bench-smoke.json'),
      JSON.stringify({ passed, failed: findings.length, skipped: 0, failures: findings, details: '' }),
    )
  process.exitCode = findings.length === 0 ? 0 : 1
}
process.exit()
