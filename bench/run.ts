import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { clean, type Workload, workloads } from './workloads.js'

/**
 * `make bench`: the same work on a local folder and on a Cairn mount (three copies, everything on this
 * machine), interleaved, several rounds, medians and ratios. Also start-up time and memory.
 */
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    files: { type: 'string', default: '3000' },
    'big-mib': { type: 'string', default: '512' },
    dir: { type: 'string', default: os.tmpdir() },
    json: { type: 'string' },
  },
})
const rounds = Number(values.rounds)
const sizes = { files: Number(values.files), bigMiB: Number(values['big-mib']) }
const program = path.resolve('dist/cli/cairn.js')

const cairn = (...args: string[]): string =>
  execFileSync(process.execPath, [program, ...args], { encoding: 'utf8' })
const now = (): number => Number(process.hrtime.bigint()) / 1e6

const scratch = mkdtempSync(path.join(values.dir, 'cairn-bench-'))
const cluster = path.join(scratch, 'cluster')
const mount = path.join(scratch, 'mnt')
const local = path.join(scratch, 'local')
mkdirSync(local)

function up(): number {
  const start = now()
  cairn('up', '--dir', cluster, '--mount', mount, '--detach')
  return now() - start
}

function dropCaches(): void {
  execFileSync('sync')
  writeFileSync('/proc/sys/vm/drop_caches', '3')
}

function residents(): Map<string, number> {
  const found = new Map<string, number>()
  for (const pid of readdirSync('/proc').filter(name => /^\d+$/.test(name))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
      if (!command.includes(program) || !command.join(' ').includes(scratch)) continue
      const role = command[command.indexOf(program) + 1] ?? ''
      const status = readFileSync(`/proc/${pid}/status`, 'utf8')
      const peak = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024
      found.set(role, Math.max(found.get(role) ?? 0, peak))
    } catch {
      // The process ended while it was looked at.
    }
  }
  return found
}

function rate(work: Workload, dir: string): number {
  work.prepare?.(dir)
  const start = now()
  const units = work.run(dir)
  return units / ((now() - start) / 1000)
}

const median = (numbers: readonly number[]): number =>
  [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN
const show = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toFixed(1))

const results = new Map<string, { unit: string; local: number[]; cairn: number[] }>()
const starts: number[] = [up()]
try {
  for (let round = 0; round < rounds; round++) {
    for (const work of workloads(sizes)) {
      const row = results.get(work.name) ?? { unit: work.unit, local: [], cairn: [] }
      results.set(work.name, row)
      if (work.cold === true) {
        // A new mount process has nothing cached; the nodes' and the disk's pages go with drop_caches.
        cairn('umount', mount)
        cairn('down', '--dir', cluster)
        dropCaches()
        starts.push(up())
      }
      row.local.push(rate(work, local))
      row.cairn.push(rate(work, mount))
    }
    clean(local)
    clean(mount)
  }
  const memory = residents()
  const cpu = os.cpus()
  console.log(
    `${String(cpu.length)} × ${cpu[0]?.model ?? '?'}, ${String(Math.round(os.totalmem() / 2 ** 30))} GiB, Linux ${os.release()}, Node ${process.version}`,
  )
  console.log(
    `${String(rounds)} rounds, ${String(sizes.files)} small files, ${String(sizes.bigMiB)} MiB; medians (lowest–highest)\n`,
  )
  console.log('| work | unit | local | Cairn, 3 copies | Cairn ÷ local |\n|---|---|---|---|---|')
  for (const [name, row] of results) {
    const spread = (n: readonly number[]) =>
      `${show(median(n))} (${show(Math.min(...n))}–${show(Math.max(...n))})`
    console.log(
      `| ${name} | ${row.unit} | ${spread(row.local)} | ${spread(row.cairn)} | ${(median(row.cairn) / median(row.local)).toFixed(3)} |`,
    )
  }
  console.log(`\nstart of the cluster with its mount: ${show(median(starts))} ms`)
  for (const [role, peak] of memory) console.log(`peak memory of a ${role}: ${show(peak)} MiB`)
  if (values.json !== undefined)
    writeFileSync(
      values.json,
      `${JSON.stringify({ machine: { cpus: cpu.length, model: cpu[0]?.model, node: process.version, kernel: os.release() }, sizes, rounds, results: Object.fromEntries(results), starts, memory: Object.fromEntries(memory) }, undefined, 2)}\n`,
    )
} finally {
  try {
    cairn('down', '--dir', cluster)
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}
