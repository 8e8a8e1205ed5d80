/**
 * What bounds each row: processor time of every thread by function, and one operation's time by layer, from what
 * the daemons count. Two passes, since taking a profile slows down what is measured.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { dropCaches } from '../caches.ts'
import type { Group, Row, Sizes } from '../rows/row.ts'
import { type CairnProcess, CairnSide } from '../sides/cairn.ts'
import { work } from '../worker.ts'
import { layersText, type Layers } from './layers.ts'
import { diskFlushes, type Usage, usageOf } from './resources.ts'
import {
  countingEnvironment,
  growth,
  listeningEnvironment,
  type Metrics,
  metricsAddress,
  scrape,
} from './scrape.ts'
import { type FunctionTime, timesOf } from './function-times.ts'
import { order, type Thread, threadsIn } from './threads.ts'

/** More often would slow down a dozen threads on a few processors by more than they tell. */
const samplingMicros = 500
const shownFunctions = 12
/** A thread that is at work for less than this part of the time bounds nothing. */
const busyPart = 0.02

export interface ProfileOptions {
  readonly scratch: string
  /** Where profiles and tables go. */
  readonly out: string
  readonly sizes: Sizes
  readonly groups: readonly Group[]
  readonly say: (line: string) => void
}

/** What `stop` undoes when it is interrupted. */
export async function profile(options: ProfileOptions, keep: (side: CairnSide) => void): Promise<void> {
  mkdirSync(options.out, { recursive: true })
  const report: string[] = [
    `load when it began: ${os
      .loadavg()
      .map(load => load.toFixed(2))
      .join(' ')}`,
    '',
  ]
  for (const pass of ['layers', 'functions'] as const) {
    const run = new Pass(options, pass)
    keep(run.side)
    try {
      report.push(...(await run.go()))
    } finally {
      await run.side.stop()
      writeFileSync(path.join(options.out, 'report.md'), `${report.join('\n')}\n`)
    }
  }
  options.say(report.join('\n'))
  options.say(`profiles and this text: ${options.out}`)
}

class Pass {
  readonly side: CairnSide
  readonly #options: ProfileOptions
  readonly #pass: 'layers' | 'functions'
  readonly #sockets: string

  constructor(options: ProfileOptions, pass: 'layers' | 'functions') {
    this.#options = options
    this.#pass = pass
    const scratch = path.join(options.scratch, pass)
    this.#sockets = path.join(scratch, 'threads')
    mkdirSync(this.#sockets, { recursive: true })
    this.side = new CairnSide(
      scratch,
      pass === 'layers' ? countingEnvironment() : listeningEnvironment(this.#sockets),
    )
  }

  async go(): Promise<string[]> {
    await this.side.start()
    const lines: string[] = []
    for (const group of this.#options.groups)
      for (const row of group.rows) {
        await this.#ready(row)
        lines.push(`## ${row.name}: ${this.#pass}`, '')
        lines.push(...(this.#pass === 'layers' ? await this.#layers(row) : await this.#functions(row)), '')
      }
    return lines
  }

  async #ready(row: Row): Promise<void> {
    await this.#work(row, 'prepare')
    await this.side.settle()
    if (row.cold !== true) return
    await this.side.remount()
    await dropCaches()
  }

  #work({ key }: Row, phase: 'prepare' | 'run') {
    const { sizes, scratch } = this.#options
    return work({ sizes, scratch, row: key, dir: this.side.dir, phase })
  }

  async #layers(row: Row): Promise<string[]> {
    const processes = this.side.processes()
    const before = await this.#metrics(processes)
    const used = usages(processes)
    const disk = diskFlushes()
    const { units, ms } = await this.#work(row, 'run')
    const diskAfter = diskFlushes()
    const usedAfter = usages(processes)
    const after = await this.#metrics(processes)
    const layers: Layers = {
      units,
      unit: row.unit,
      ms,
      flushes: { count: diskAfter.count - disk.count, ms: diskAfter.ms - disk.ms },
      processes: processes.map(({ role, pid }) => ({
        role,
        before: used.get(pid),
        after: usedAfter.get(pid),
        grown: growth(before.get(pid) ?? new Map(), after.get(pid) ?? new Map()),
      })),
    }
    return layersText(layers)
  }

  async #functions(row: Row): Promise<string[]> {
    const processes = this.side.processes()
    const roles = new Map(processes.map(({ pid, role }) => [pid, role]))
    const threads = threadsIn(this.#sockets, pid => roles.has(pid))
    const used = usages(processes)
    await all(threads, thread => order(thread, `start ${String(samplingMicros)}`))
    const { units, ms } = await this.#work(row, 'run')
    const folder = path.join(this.#options.out, row.key)
    mkdirSync(folder, { recursive: true })
    const files = new Map(
      threads.map(thread => [
        thread,
        path.join(
          folder,
          `${roles.get(thread.pid) ?? 'process'}-${thread.thread}-${path.basename(thread.socket, '.sock').split('.').at(-1) ?? ''}.cpuprofile`,
        ),
      ]),
    )
    await all(threads, thread => order(thread, `stop ${files.get(thread) ?? ''}`))
    const lines = [
      `${units} ${row.unit} in ${ms.toFixed(0)} ms with profiles (${((units / ms) * 1000).toFixed(0)} a second)`,
      '',
    ]
    const after = usages(processes)
    for (const file of [...files.values()].sort()) {
      lines.push(...functionTables(file, units))
    }
    for (const { role, pid } of processes) {
      const from = used.get(pid)
      const to = after.get(pid)
      if (from === undefined || to === undefined) continue
      lines.push(
        `${role}: ${String(to.userMs - from.userMs)} ms user, ${String(to.systemMs - from.systemMs)} ms system`,
      )
    }
    return lines
  }

  async #metrics(processes: readonly CairnProcess[]): Promise<Map<number, Metrics>> {
    const found = new Map<number, Metrics>()
    for (const { role, pid } of processes) {
      const log = role === 'mount' ? this.side.mountLog : path.join(this.side.cluster, 'logs', `${role}.log`)
      const address = metricsAddress(log)
      if (address !== undefined) found.set(pid, await scrape(address))
    }
    return found
  }
}

async function all(threads: readonly Thread[], what: (thread: Thread) => Promise<string>): Promise<void> {
  for (const [at, answer] of (await Promise.all(threads.map(what))).entries())
    if (answer !== 'done') throw new Error(`${threads[at]?.socket ?? ''}: ${answer}`)
}

const usages = (processes: readonly CairnProcess[]): Map<number, Usage> =>
  new Map(processes.map(({ pid }) => [pid, usageOf(pid)]))

/** The functions in which a thread spent most of its time, by themselves and with all that they called. */
function functionTables(file: string, units: number): string[] {
  const { totalMs, idleMs, functions } = timesOf(file)
  const busyMs = totalMs - idleMs
  if (busyMs < totalMs * busyPart) return []
  const micros = (ms: number) => ((ms * 1000) / units).toFixed(1)
  const table = (title: string, rows: readonly FunctionTime[], ms: (row: FunctionTime) => number) => [
    `| ${title} | ms | µs a unit |`,
    '|---|---|---|',
    ...[...rows]
      .sort((a, b) => ms(b) - ms(a))
      .slice(0, shownFunctions)
      .map(row => `| ${row.name.replaceAll('|', '\\|')} | ${ms(row).toFixed(0)} | ${micros(ms(row))} |`),
    '',
  ]
  return [
    `**${path.basename(file, '.cpuprofile')}**: busy ${busyMs.toFixed(0)} of ${totalMs.toFixed(0)} ms, ${micros(busyMs)} µs a unit`,
    '',
    ...table('by itself', functions, ({ selfMs }) => selfMs),
    ...table(
      'with what it called',
      functions.filter(({ own }) => own),
      row => row.totalMs,
    ),
  ]
}
