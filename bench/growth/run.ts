/**
 * `make bench-growth`: what a namespace that grows costs. A load generator that speaks the protocol of mounts fills it, and
 * measures at several sizes how many files a second are made (each answer means that it is on the disk), looked up,
 * listed and removed, and what memory the master has; then how long the master takes to start, and how fast a mount
 * lists a large directory. Generator, master and three chunkservers share this machine.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import type { Ino } from '#src/core/ids.ts'
import { commitName, describeMachine } from '../report/results.ts'
import { makeScratch, removeLeftovers, removeScratch } from '../scratch.ts'
import { BareCluster } from '../sides/bare-cluster.ts'
import { WireLoad } from './wire-load.ts'

const { values } = parseArgs({
  options: {
    files: { type: 'string', default: '5000000' },
    /** Entries of the large directory. */
    listing: { type: 'string', default: '1000000' },
    dir: { type: 'string', default: os.tmpdir() },
    /** Where the results are kept; by default nowhere but on the screen. */
    into: { type: 'string' },
  },
})

const nodes = 3
const filesOfFolder = 1000
const smallest = 10_000
const lookupsOfFolder = 400
/** So much of each kind of work is measured at each size. */
const sample = { files: 20_000, lookups: 40_000, folders: 40 }

interface Sizes {
  readonly files: number
  readonly creates: number
  readonly lookups: number
  readonly listed: number
  readonly unlinks: number
  readonly masterMiB: number
  readonly masterPeakMiB: number
}

/** Folders of a thousand files each. */
class Namespace {
  readonly #load: WireLoad
  readonly #folders: Ino[] = []

  constructor(load: WireLoad) {
    this.#load = load
  }

  get files(): number {
    return this.#folders.length * filesOfFolder
  }

  async growTo(files: number): Promise<void> {
    while (this.files < files) {
      const folder = await this.#load.makeFolder(this.#load.root, `d${String(this.#folders.length)}`)
      await this.#load.makeFiles(folder, names('f', filesOfFolder))
      this.#folders.push(folder)
    }
  }

  async measure(master: number): Promise<Sizes> {
    const { files } = this
    const fresh = await this.#load.makeFolder(this.#load.root, `sample-${String(files)}`)
    const creates = await rate(() => this.#load.makeFiles(fresh, names('s', sample.files)))
    const lookups = await rate(() => this.#lookUp())
    const listed = await rate(() => this.#list())
    const unlinks = await rate(() => this.#load.removeFiles(fresh, names('s', sample.files)))
    const status = readFileSync(`/proc/${String(master)}/status`, 'utf8')
    const memory = (field: string) =>
      Math.round(Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) / 1024)
    return {
      files,
      creates,
      lookups,
      listed,
      unlinks,
      masterMiB: memory('VmRSS'),
      masterPeakMiB: memory('VmHWM'),
    }
  }

  /** Names here and there, so that what is cached of a small database is not of a large one. */
  async #lookUp(): Promise<number> {
    let count = 0
    for (const folder of this.#some(sample.lookups / lookupsOfFolder))
      count += await this.#load.lookUp(folder, names('f', lookupsOfFolder))
    return count
  }

  async #list(): Promise<number> {
    let count = 0
    for (const folder of this.#some(sample.folders)) count += await this.#load.list(folder, true)
    return count
  }

  /** Evenly spread over all folders. */
  *#some(count: number): Generator<Ino> {
    for (let n = 0; n < count; n++) {
      const folder = this.#folders[Math.floor((n * this.#folders.length) / count)]
      if (folder !== undefined) yield folder
    }
  }
}

function* names(letter: string, end: number, start = 0): Generator<string> {
  for (let n = start; n < end; n++) yield `${letter}${String(n)}`
}

/** How many a second. */
async function rate(work: () => Promise<number>): Promise<number> {
  const began = performance.now()
  const count = await work()
  return Math.round(count / ((performance.now() - began) / 1000))
}

async function seconds(work: () => Promise<void>): Promise<number> {
  const began = performance.now()
  await work()
  return (performance.now() - began) / 1000
}

/** Entries a second that a program on the mount is told. */
function listOnMount(folder: string, entries: number): number {
  const began = performance.now()
  const { stdout, status } = spawnSync('ls', ['-U', folder], { maxBuffer: 1 << 30 })
  const ms = performance.now() - began
  const found = stdout.filter(byte => byte === 10).length
  if (status !== 0 || found !== entries) throw new Error(`ls found ${String(found)} of ${String(entries)}`)
  return Math.round(found / (ms / 1000))
}

async function main(): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error('it mounts a file system: run it as root')
  const most = Number(values.files)
  const listing = Number(values.listing)
  await removeLeftovers(values.dir)
  const scratch = makeScratch(values.dir)
  const cluster = new BareCluster(scratch)
  let load: WireLoad | undefined
  try {
    await cluster.start(nodes)
    const generator = new WireLoad(cluster.master)
    load = generator
    await load.start()
    const namespace = new Namespace(generator)
    const sizes: Sizes[] = []
    for (const files of milestones(most)) {
      const began = performance.now()
      await namespace.growTo(files)
      const found = await namespace.measure(cluster.pidOf('master'))
      sizes.push(found)
      say(found, (performance.now() - began) / 1000)
    }
    const large = await generator.makeFolder(generator.root, 'large')
    await generator.makeFiles(large, names('a-name-of-usual-length-', listing))
    const listed = await rate(() => generator.list(large, false))
    const onMount = listOnMount(path.join(cluster.mount, 'large'), listing)
    console.log(
      `a directory of ${String(listing)}: ${String(listed)} entries a second on the wire, ${String(onMount)} by ls on a mount`,
    )
    await generator.stop()
    load = undefined
    await cluster.kill('master')
    const start = await seconds(() => cluster.startAgain('master'))
    console.log(`the master was killed and serves again after ${start.toFixed(2)} s`)
    if (values.into !== undefined)
      writeFileSync(
        values.into,
        `${JSON.stringify(
          {
            version: 1,
            commit: commitName(),
            measured: new Date().toISOString(),
            machine: describeMachine(values.dir),
            loads: os.loadavg(),
            sizes,
            listing: { entries: listing, wire: listed, mount: onMount },
            masterStartSeconds: start,
          },
          undefined,
          2,
        )}\n`,
      )
  } finally {
    await load?.stop()
    await cluster.stop()
    removeScratch(scratch)
  }
}

function milestones(most: number): number[] {
  const found: number[] = []
  for (let files = smallest; files < most; files *= 10) found.push(files)
  return [...found, most]
}

function say(
  { files, creates, lookups, listed, unlinks, masterMiB, masterPeakMiB }: Sizes,
  took: number,
): void {
  console.log(
    `${String(files)} files (${took.toFixed(0)} s): ${String(creates)} creates, ${String(lookups)} lookups, ` +
      `${String(listed)} entries listed, ${String(unlinks)} unlinks a second; master ${String(masterMiB)} MiB, ` +
      `at most ${String(masterPeakMiB)}`,
  )
}

await main()
