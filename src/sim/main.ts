/**
 * Runs seeds of the simulator: `node dist/sim/main.js --seeds N [--from S] [--jobs J] [--mounts M] [--shared|--disaster] [--focus ${focuses.join('|')}] [--trace SEED]`.
 * One line for each seed that fails, with how to see it again; exit code 1 if one does.
 */
import { fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Checksums, createChecksums } from '../core/checksum.ts'
import { messageOf } from '../core/errors.ts'
import { hour } from '../core/units.ts'
import { type PlantedBugs, plantedBugs } from './cluster/options.ts'
import { type Focus, focuses } from './run/plan.ts'
import { runSeed } from './run/run-seed.ts'

interface Orders {
  readonly seeds: number
  readonly from: number
  readonly jobs: number
  readonly trace: number | undefined
  readonly verbose: boolean
  readonly bugs: PlantedBugs
  /** As the seed says, or one. */
  readonly mounts: number | undefined
  readonly shared: boolean
  readonly disaster: boolean
  readonly focus: Focus | undefined
}

const usage = `usage: node dist/sim/main.js [--seeds N] [--from S] [--jobs J] [--mounts M] [--shared|--disaster] [--focus ${focuses.join('|')}] [--verbose] [--plant ${plantedBugs.join('|')}] | --trace SEED`

function ordersOf(args: string[]): Orders {
  const { values } = parseArgs({
    args,
    options: {
      seeds: { type: 'string', default: '100' },
      from: { type: 'string', default: '1' },
      jobs: { type: 'string', default: String(Math.min(2, availableParallelism())) },
      trace: { type: 'string' },
      verbose: { type: 'boolean', default: false },
      plant: { type: 'string' },
      mounts: { type: 'string' },
      shared: { type: 'boolean', default: false },
      disaster: { type: 'boolean', default: false },
      focus: { type: 'string' },
    },
  })
  const bug = plantedBugs.find(name => name === values.plant)
  if (values.plant !== undefined && bug === undefined) throw new Error(`no bug ${values.plant} to plant`)
  const focus = focuses.find(name => name === values.focus)
  if (values.focus !== undefined && focus === undefined) throw new Error(`no focus ${values.focus}`)
  return {
    seeds: numberOf(values.seeds, 'seeds'),
    from: numberOf(values.from, 'from'),
    jobs: numberOf(values.jobs, 'jobs'),
    trace: values.trace === undefined ? undefined : numberOf(values.trace, 'trace'),
    verbose: values.verbose,
    bugs: bug === undefined ? {} : { [bug]: true },
    mounts: values.mounts === undefined ? undefined : numberOf(values.mounts, 'mounts'),
    shared: values.shared,
    disaster: values.disaster,
    focus,
  }
}

function numberOf(text: string, name: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new Error(`--${name}: a number is expected, not ${text}`)
  return Number(text)
}

/** What says which runs they are, besides their seeds. */
function argumentsOf({ bugs, mounts, shared, disaster, focus }: Orders): string[] {
  return [
    ...Object.keys(bugs).flatMap(name => ['--plant', name]),
    ...(mounts === undefined ? [] : ['--mounts', String(mounts)]),
    ...(shared ? ['--shared'] : []),
    ...(disaster ? ['--disaster'] : []),
    ...(focus === undefined ? [] : ['--focus', focus]),
  ]
}

interface Ended {
  readonly fine: boolean
  readonly virtualMs: number
}

/** Runs one seed here. */
async function runHere(seed: number, checksums: Checksums, orders: Orders): Promise<Ended> {
  const began = process.hrtime.bigint()
  const options = orders.trace === undefined ? {} : { trace: (line: string) => console.log(line) }
  const { bugs, mounts, shared, disaster, focus } = orders
  const outcome = await runSeed(seed, checksums, {
    ...options,
    bugs,
    shared,
    disaster,
    focus,
    ...(mounts === undefined ? {} : { mounts }),
  })
  const ms = (process.hrtime.bigint() - began) / 1_000_000n
  const { failure, calls, events, virtualMs, hash, undecided } = outcome
  if (orders.verbose || orders.trace !== undefined)
    console.log(
      `seed ${seed}: ${calls} calls, ${events} events, ${Math.round(virtualMs / 1000)} virtual s in ${ms} ms, trace ${hash.slice(0, 16)}${undecided === 0 ? '' : `, ${undecided} histories undecided`}`,
    )
  if (failure === undefined) return { fine: true, virtualMs }
  const plant = argumentsOf(orders).map(word => ` ${word}`)
  console.log(
    `seed ${seed}: ${failure.invariant}: ${failure.detail}\n  replay: node dist/sim/main.js --trace ${seed}${plant.join('')}`,
  )
  return { fine: false, virtualMs }
}

/** Runs the seeds of one process, and says how many of them failed. */
async function runAll(orders: Orders): Promise<boolean> {
  const checksums = await createChecksums()
  let failed = 0
  let virtualMs = 0
  for (let seed = orders.from; seed < orders.from + orders.seeds; seed++) {
    const ended = await runHere(seed, checksums, orders)
    if (!ended.fine) failed++
    virtualMs += ended.virtualMs
  }
  const hours = (virtualMs / hour).toFixed(2)
  console.log(
    `${orders.seeds} seeds from ${orders.from}, ${hours} virtual hours: ${failed === 0 ? 'all fine' : `${failed} failed`}`,
  )
  return failed === 0
}

/** Shares the seeds among processes; whether all of them were fine. */
async function runInProcesses(orders: Orders): Promise<boolean> {
  const share = Math.ceil(orders.seeds / orders.jobs)
  const ended: Promise<number | null>[] = []
  for (let from = orders.from; from < orders.from + orders.seeds; from += share) {
    const seeds = Math.min(share, orders.from + orders.seeds - from)
    const args = ['--seeds', String(seeds), '--from', String(from), '--jobs', '1']
    if (orders.verbose) args.push('--verbose')
    args.push(...argumentsOf(orders))
    const child = fork(fileURLToPath(import.meta.url), args)
    ended.push(
      new Promise((resolve, reject) => {
        child.on('error', reject)
        child.on('exit', (code, signal) => {
          if (signal !== null) console.log(`the process for seeds from ${args[3]} was ended by ${signal}`)
          resolve(code)
        })
      }),
    )
  }
  return (await Promise.all(ended)).every(code => code === 0)
}

async function main(): Promise<number> {
  let orders: Orders
  try {
    orders = ordersOf(process.argv.slice(2))
  } catch (error) {
    console.error(`${messageOf(error)}\n${usage}`)
    return 2
  }
  if (orders.trace !== undefined)
    return (await runHere(orders.trace, await createChecksums(), orders)).fine ? 0 : 1
  const inProcesses = orders.jobs > 1 && orders.seeds > 1
  return (await (inProcesses ? runInProcesses(orders) : runAll(orders))) ? 0 : 1
}

process.exitCode = await main()
