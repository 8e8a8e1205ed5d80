/**
 * Fuzzing of everything that decodes bytes from outside: `make fuzz SECONDS=600`.
 *
 *   --seconds N     over all targets (60)
 *   --seed N        of the inputs that are made (now, and said)
 *   --target NAME   only this one
 *   --keep          what reached something new goes into test/fuzz/corpus
 *   --replay FILE   runs that input alone, with --target
 *
 * What fails is left in build/fuzz. The targets run in a thread, so that one that does not come back is noticed.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { explore, judge, nameOfInput } from './loop.ts'
import { inputBytesMax } from './mutate.ts'
import { targets } from './targets.ts'

interface Work {
  readonly name: string
  readonly seed: number
  readonly ms: number
  /** The input that runs: its length, then it. */
  readonly current: SharedArrayBuffer
}

interface Done {
  readonly runs: number
  readonly blocks: number
  readonly kept: readonly Uint8Array[]
  readonly findings: readonly { readonly input: Uint8Array; readonly why: string }[]
}

/** Of the repository: this runs in build/test/fuzz. */
const root = fileURLToPath(new URL('../../../', import.meta.url))
const corpusFolder = path.join(root, 'test/fuzz/corpus')
const failures = path.join(root, 'build/fuzz')
/** After the end of its time. */
const hangMs = 30_000
/** Of one target; of more the shortest. */
const corpusMax = 80

export function corpusOf(name: string): Buffer[] {
  try {
    const folder = path.join(corpusFolder, name)
    return readdirSync(folder).map(file => readFileSync(path.join(folder, file)))
  } catch {
    // It has none yet.
    return []
  }
}

async function inThread({ name, seed, ms, current }: Work): Promise<void> {
  const target = (await targets())[name]
  if (target === undefined) throw new Error(`there is no target ${name}`)
  const length = new Uint32Array(current, 0, 1)
  const bytes = new Uint8Array(current, 4)
  const outcome = await explore(target, corpusOf(name), {
    seed,
    until: performance.now() + ms,
    about: input => {
      bytes.set(input.subarray(0, bytes.length))
      length[0] = Math.min(input.length, bytes.length)
    },
  })
  parentPort?.postMessage(outcome)
}

async function work(name: string, seed: number, ms: number): Promise<Done> {
  const current = new SharedArrayBuffer(4 + 16 * inputBytesMax)
  const worker = new Worker(fileURLToPath(import.meta.url), {
    workerData: { name, seed, ms, current } satisfies Work,
  })
  let late: NodeJS.Timeout | undefined
  try {
    return await new Promise<Done>((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
      late = setTimeout(() => {
        const [length = 0] = new Uint32Array(current, 0, 1)
        const input = new Uint8Array(current, 4).slice(0, length)
        resolve({ runs: 0, blocks: 0, kept: [], findings: [{ input, why: 'it does not come back' }] })
      }, ms + hangMs)
    })
  } finally {
    clearTimeout(late)
    await worker.terminate()
  }
}

function keep(name: string, inputs: readonly Uint8Array[]): void {
  const folder = path.join(corpusFolder, name)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const least = [...inputs].sort((a, b) => a.length - b.length).slice(0, corpusMax)
  for (const input of least) writeFileSync(path.join(folder, nameOfInput(Buffer.from(input))), input)
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
      target: { type: 'string' },
      keep: { type: 'boolean', default: false },
      replay: { type: 'string' },
    },
  })
  const all = await targets()
  const names = values.target === undefined ? Object.keys(all) : [values.target]
  if (names.some(name => all[name] === undefined)) {
    console.error(`There is no target ${names.join()}: ${Object.keys(all).join(', ')}`)
    return 2
  }
  if (values.replay !== undefined) {
    const target = all[values.target ?? '']
    if (target === undefined) {
      console.error('--replay takes --target, too')
      return 2
    }
    const why = await judge(target, readFileSync(values.replay))
    console.log(why ?? 'nothing is wrong with it')
    return why === undefined ? 0 : 1
  }
  const seed = Number(values.seed)
  const ms = (Number(values.seconds) * 1000) / names.length
  if (!Number.isInteger(seed) || !(ms > 0)) {
    console.error('--seconds and --seed are numbers')
    return 2
  }
  console.log(`seed ${String(seed)}`)
  let found = 0
  for (const name of names) {
    const { runs, blocks, kept, findings } = await work(name, seed, ms)
    console.log(
      `${name}: ${String(runs)} inputs, ${String(blocks)} blocks of code, ${String(kept.length)} kept`,
    )
    if (values.keep) keep(name, kept)
    for (const { input, why } of findings) {
      found++
      mkdirSync(failures, { recursive: true })
      const file = path.join(failures, `${name}-${nameOfInput(Buffer.from(input))}`)
      writeFileSync(file, input)
      console.log(
        `${name} FAILS: ${why}\n  again: node build/test/fuzz/fuzz.js --target ${name} --replay ${file}`,
      )
    }
  }
  return found === 0 ? 0 : 1
}

if (!isMainThread) await inThread(workerData as Work)
else if (process.argv[1] === fileURLToPath(import.meta.url)) process.exit(await main())
