/**
 * `make bench`: the same work on a local folder, on Cairn and on its peers, everything on this machine. What it
 * starts it takes down, also when it fails or is interrupted; what a run that was killed left, the next one does.
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { measure } from './measure.ts'
import { profile } from './profile/profile.ts'
import { markdown } from './report/markdown.ts'
import { historyPlot, ratiosPlot } from './report/plots.ts'
import { newResults, readResults, type Results, writeResults } from './report/results.ts'
import { groupsOf } from './rows/groups.ts'
import { fullSizes, type Sizes } from './rows/row.ts'
import { makeScratch, removeLeftovers, removeScratch } from './scratch.ts'
import { CairnSide } from './sides/cairn.ts'
import { GlusterFsSide } from './sides/glusterfs.ts'
import { LocalSide } from './sides/local.ts'
import { MooseFsSide } from './sides/moosefs.ts'
import { PeerNetwork } from './sides/peer-network.ts'
import type { Side } from './sides/side.ts'
import { stopWork } from './worker.ts'

const help = `node build/bench/run.js [options]
  --rounds N      how often everything is measured (3)
  --groups A,B    only these: big, small, tree, mdtest, fio
  --peers         MooseFS and GlusterFS, too (they must be installed: make bench PEERS=1)
  --profile DIR   no comparison: what bounds Cairn, with profiles of all its threads in DIR
  --into FILE     adds to the results in FILE, so that a run can be made in parts
  --files N       small files (${fullSizes.files}); --big-mib N  of the large file (${fullSizes.bigMiB}); --randoms N  reads here and there (${fullSizes.randoms})
  --dir DIR       where all data goes (${os.tmpdir()})`

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    groups: { type: 'string' },
    peers: { type: 'boolean', default: false },
    profile: { type: 'string' },
    into: { type: 'string' },
    files: { type: 'string', default: String(fullSizes.files) },
    'big-mib': { type: 'string', default: String(fullSizes.bigMiB) },
    randoms: { type: 'string', default: String(fullSizes.randoms) },
    dir: { type: 'string', default: os.tmpdir() },
    help: { type: 'boolean', default: false },
  },
})
const say = (line: string): void => console.log(line)
const history = path.resolve('bench/results')

async function main(): Promise<void> {
  if (values.help) {
    say(help)
    return
  }
  if (process.getuid?.() !== 0) throw new Error('it mounts file systems and drops caches: run it as root')
  const sizes: Sizes = {
    files: wholeNumber('files'),
    bigMiB: wholeNumber('big-mib'),
    randoms: wholeNumber('randoms'),
  }
  const rounds = wholeNumber('rounds')
  await removeLeftovers(values.dir)
  const scratch = makeScratch(values.dir)
  const ends: (() => Promise<void>)[] = []
  const interrupted = interruption()
  try {
    const all = groupsOf(sizes, scratch)
    const wanted = values.groups?.split(',') ?? all.map(({ key }) => key)
    for (const key of wanted)
      if (!all.some(group => group.key === key))
        throw new Error(`there is no group ${key}: ${all.map(group => group.key).join(', ')}`)
    const groups = all.filter(({ key }) => wanted.includes(key))
    const ran =
      values.profile === undefined
        ? compare(scratch, { sizes, rounds, groups, whole: groups.length === all.length }, ends)
        : profile({ scratch, out: path.resolve(values.profile), sizes, groups, say }, side => {
            ends.push(() => side.stop())
          })
    await Promise.race([ran, interrupted])
  } finally {
    stopWork()
    await endAll(ends)
    removeScratch(scratch)
  }
}

interface Comparison {
  readonly sizes: Sizes
  readonly rounds: number
  readonly groups: ReturnType<typeof groupsOf>
  /** All rows: goes into the history. */
  readonly whole: boolean
}

async function compare(
  scratch: string,
  { sizes, rounds, groups, whole }: Comparison,
  ends: (() => Promise<void>)[],
): Promise<void> {
  const begun = values.into === undefined ? undefined : readResults(values.into)
  const results = begun ?? newResults(sizes, values.dir)
  if (begun !== undefined && JSON.stringify(begun.sizes) !== JSON.stringify(sizes))
    throw new Error(`${values.into ?? ''} is of other sizes: ${JSON.stringify(begun.sizes)}`)
  results.loads.push(os.loadavg()[0] ?? Number.NaN)
  const cairn = new CairnSide(scratch)
  const sides: Side[] = [new LocalSide(scratch)]
  if (values.peers) {
    const network = new PeerNetwork()
    ends.push(() => network.stop())
    await network.start()
    sides.push(new MooseFsSide(scratch, network), new GlusterFsSide(scratch, network))
  }
  sides.push(cairn)
  for (const side of sides) {
    ends.push(() => side.stop())
    await side.start()
  }
  // A run that is interrupted has its whole rounds.
  const ended = (): void => {
    for (const side of sides)
      if (!results.sides.some(({ key }) => key === side.key))
        results.sides.push({ key: side.key, name: side.name, description: side.describe() })
    results.startsMs.push(...cairn.startsMs.splice(0))
    results.mountsMs.push(...cairn.mountsMs.splice(0))
    for (const [role, peak] of Object.entries(cairn.peaks()))
      results.peaksMiB[role] = Math.max(peak, results.peaksMiB[role] ?? 0)
    keep(results, whole)
  }
  await measure({ sides, groups, rounds, sizes, scratch, results, say, ended })
  say(`\n${markdown(results)}`)
}

/** A whole run, or one that is put together of parts by name, is kept beside the earlier ones. */
function keep(results: Results, whole: boolean): void {
  const name = `${results.began.slice(0, 10)}-${results.commit}`
  const file =
    values.into ?? path.join(whole ? history : path.resolve('build'), `${whole ? '' : 'bench-'}${name}.json`)
  const base = file.replace(/\.json$/, '')
  mkdirSync(path.dirname(file), { recursive: true })
  writeResults(file, results)
  writeFileSync(`${base}.md`, markdown(results))
  writeFileSync(`${base}.svg`, ratiosPlot(results))
  if (path.dirname(path.resolve(file)) === history) {
    const earlier = readdirSync(history)
      .filter(each => each.endsWith('.json'))
      .map(each => readResults(path.join(history, each)))
      .filter(each => each !== undefined)
      .sort((a, b) => (a.began < b.began ? -1 : 1))
    writeFileSync(path.join(history, 'history.svg'), historyPlot(earlier))
  }
  say(`kept in ${base}.json, .md and .svg`)
}

/** Rejects on Ctrl-C and the like. Further ones do not stop the cleaning up. */
function interruption(): Promise<never> {
  const interrupted = new Promise<never>((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.on(signal, () => {
        process.stderr.write(`${signal}: stopping what was started\n`)
        reject(new Error(signal))
      })
  })
  interrupted.catch(() => undefined)
  return interrupted
}

/** Last started, first stopped. What fails does not keep the rest. */
async function endAll(ends: readonly (() => Promise<void>)[]): Promise<void> {
  for (const end of [...ends].reverse())
    await end().catch((error: unknown) => {
      process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
      process.exitCode = 1
    })
}

function wholeNumber(name: 'rounds' | 'files' | 'big-mib' | 'randoms'): number {
  const value = Number(values[name])
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} must be a whole number from 1`)
  return value
}

try {
  await main()
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
process.exit()
