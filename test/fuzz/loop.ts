/**
 * Runs one target on inputs made of those that are known, and keeps what reaches code that none did before. What was
 * reached V8 tells, by block; that takes a while, so it is asked after some inputs, and only where there was something
 * new after each of them again.
 */
import { createHash } from 'node:crypto'
import { Session } from 'node:inspector/promises'
import { performance } from 'node:perf_hooks'
import { HostileBytes } from '../support/hostile-bytes.ts'
import { mutated } from './mutate.ts'
import type { Target } from './targets.ts'

const inputsAtOnce = 200
/** An input of a few kilobytes that keeps a processor so long is one to attack with. */
const slowMs = 2000

export interface Finding {
  readonly input: Buffer
  readonly why: string
}

export interface Outcome {
  readonly runs: number
  readonly blocks: number
  /** Inputs that reached something new. */
  readonly kept: readonly Buffer[]
  readonly findings: readonly Finding[]
}

export const nameOfInput = (input: Buffer): string =>
  createHash('sha256').update(input).digest('hex').slice(0, 16)

/** What is wrong with what a target does with an input; undefined: nothing. */
export async function judge(target: Target, input: Buffer): Promise<string | undefined> {
  const began = performance.now()
  try {
    await target.run(Buffer.from(input))
  } catch (thrown) {
    return thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)
  }
  const ms = performance.now() - began
  return ms > slowMs ? `it took ${String(Math.round(ms))} ms` : undefined
}

/** Also what decodes for us. */
const ours = /^(?!.*node_modules).*\/dist\/|node_modules\/(pkijs|asn1js|smol-toml|@bufbuild)\//

/** Blocks of our own code that were reached since it was last asked. */
class Coverage {
  readonly #session = new Session()
  readonly #known = new Set<string>()

  async start(): Promise<void> {
    this.#session.connect()
    await this.#session.post('Profiler.enable')
    await this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  }

  get blocks(): number {
    return this.#known.size
  }

  /** How many are new; with `learn` they are known from now on. */
  async news(learn: boolean): Promise<number> {
    const { result } = await this.#session.post('Profiler.takePreciseCoverage')
    const found = new Set<string>()
    for (const { url, functions } of result) {
      if (!ours.test(url)) continue
      for (const { ranges } of functions)
        for (const { startOffset, endOffset, count } of ranges) {
          const block = `${url}:${String(startOffset)}-${String(endOffset)}`
          if (count > 0 && !this.#known.has(block)) found.add(block)
        }
    }
    if (learn) for (const block of found) this.#known.add(block)
    return found.size
  }

  async stop(): Promise<void> {
    await this.#session.post('Profiler.stopPreciseCoverage')
    this.#session.disconnect()
  }
}

/** Until `until` (of performance.now). `about`: hears of each input before it is run. */
export async function explore(
  target: Target,
  corpus: readonly Buffer[],
  options: { readonly seed: number; readonly until: number; readonly about: (input: Buffer) => void },
): Promise<Outcome> {
  const hostile = new HostileBytes(options.seed)
  const coverage = new Coverage()
  await coverage.start()
  const findings = new Map<string, Finding>()
  const pool: Buffer[] = []
  const kept: Buffer[] = []
  let runs = 0
  const run = async (input: Buffer): Promise<void> => {
    options.about(input)
    runs++
    const why = await judge(target, input)
    // Of what fails in the same place one is enough.
    const place = why?.split('\n').slice(0, 3).join('\n') ?? ''
    if (why !== undefined && !findings.has(place)) findings.set(place, { input, why })
  }
  // The least that reaches what is known: what brings nothing new is not kept.
  for (const input of [...target.seeds, ...corpus].sort((a, b) => a.length - b.length)) {
    await run(input)
    if ((await coverage.news(true)) === 0) continue
    pool.push(input)
    kept.push(input)
  }
  while (performance.now() < options.until) {
    const inputs = Array.from({ length: inputsAtOnce }, () => mutated(hostile, pool))
    for (const input of inputs) await run(input)
    if ((await coverage.news(false)) === 0) continue
    for (const input of inputs) {
      await run(input)
      if ((await coverage.news(true)) === 0) continue
      pool.push(input)
      kept.push(input)
    }
  }
  await coverage.stop()
  return { runs, blocks: coverage.blocks, kept, findings: [...findings.values()] }
}
