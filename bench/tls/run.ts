/**
 * `make bench-tls`: what mutual TLS costs. Two clusters on this machine, one with it, the same work on both in turn. Tokens
 * for blocks are part of both.
 */
import { writeFileSync } from 'node:fs'
import os from 'node:os'
import { parseArgs } from 'node:util'
import { measure } from '../measure.ts'
import { median, newResults, type RowResult, writeResults } from '../report/results.ts'
import { groupsOf } from '../rows/groups.ts'
import { fullSizes } from '../rows/row.ts'
import { makeScratch, removeLeftovers, removeScratch } from '../scratch.ts'
import { BareSide } from '../sides/bare-side.ts'
import { stopWork } from '../worker.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    groups: { type: 'string', default: 'big,small' },
    dir: { type: 'string', default: os.tmpdir() },
    /** Where the results are kept; by default nowhere but on the screen. */
    into: { type: 'string' },
  },
})

/** The most that a row may lose. */
const goals = { big: 0.25, small: 0.15 }

async function main(): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error('it mounts file systems and drops caches: run it as root')
  await removeLeftovers(values.dir)
  const scratch = makeScratch(values.dir)
  const wanted = values.groups.split(',')
  const groups = groupsOf(fullSizes, scratch).filter(({ key }) => wanted.includes(key))
  const bulk = new Set(
    groups.filter(({ key }) => key === 'big').flatMap(({ rows }) => rows.map(row => row.key)),
  )
  const sides = [new BareSide(scratch, { tls: false }), new BareSide(scratch, { tls: true })]
  const results = newResults(fullSizes, values.dir)
  results.loads.push(os.loadavg()[0] ?? Number.NaN)
  try {
    for (const side of sides) {
      await side.start()
      results.sides.push({ key: side.key, name: side.name, description: side.describe() })
    }
    await measure({
      sides,
      groups,
      rounds: Number(values.rounds),
      sizes: fullSizes,
      scratch,
      results,
      say: line => console.log(line),
      ended: () => undefined,
    })
    const table = tableOf(results.rows, bulk)
    console.log(`\n${table}`)
    if (values.into !== undefined) {
      writeResults(values.into, results)
      writeFileSync(values.into.replace(/\.json$/, '.md'), table)
    }
  } finally {
    stopWork()
    for (const side of sides) await side.stop()
    removeScratch(scratch)
  }
}

function tableOf(rows: readonly RowResult[], bulk: ReadonlySet<string>): string {
  const lines = rows.map(({ key, name, unit, rates }) => {
    const [plain, tls] = ['plain', 'tls'].map(side => median(rates[side] ?? []))
    const cost = 1 - (tls ?? Number.NaN) / (plain ?? Number.NaN)
    const goal = bulk.has(key.replace(/-anew$/, '')) ? goals.big : goals.small
    const shown = [plain, tls].map(rate => (rate ?? Number.NaN).toFixed(0)).join(' | ')
    return `| ${name}, ${unit} | ${shown} | ${percent(cost)} | ${percent(goal)}${cost > goal ? ' ✗' : ''} |`
  })
  return [
    '| work, a second | without TLS | with TLS | less | at most |',
    '|---|---|---|---|---|',
    ...lines,
    '',
  ].join('\n')
}

const percent = (part: number): string => `${(part * 100).toFixed(0)} %`

await main()
