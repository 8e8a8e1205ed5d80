/**
 * Runs seeds of the simulator: `node dist/sim/main.js --seeds N [--from S] [--trace SEED]`. One line for
 * each seed that fails; exit code 1 if one does.
 */
import { parseArgs } from 'node:util'
import { createChecksums } from '../core/checksum.ts'
import { planOf } from './run/plan.ts'
import { Run } from './run/run.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100' },
    from: { type: 'string', default: '1' },
    trace: { type: 'string' },
    verbose: { type: 'boolean', default: false },
  },
})

const checksums = await createChecksums()
let current: Run | undefined
process.on('unhandledRejection', error => current?.bug(error))

async function runSeed(seed: number, trace?: (line: string) => void): Promise<boolean> {
  const began = process.hrtime.bigint()
  const run = new Run(planOf(seed), checksums, trace)
  current = run
  const { failure, virtualMs, events, calls, hash } = await run.run()
  const ms = Number((process.hrtime.bigint() - began) / 1_000_000n)
  if (values.verbose || trace !== undefined)
    console.log(`seed ${seed}: ${calls} calls, ${events} events, ${(virtualMs / 1000).toFixed(0)} virtual s in ${ms} ms, ${hash.slice(0, 12)}`)
  if (failure !== undefined)
    console.log(`seed ${seed}: ${failure.invariant}: ${failure.detail}\n  replay: node dist/sim/main.js --trace ${seed}`)
  return failure === undefined
}

if (values.trace !== undefined) {
  const fine = await runSeed(Number(values.trace), line => console.log(line))
  process.exitCode = fine ? 0 : 1
} else {
  const from = Number(values.from)
  let failed = 0
  for (let seed = from; seed < from + Number(values.seeds); seed++) if (!(await runSeed(seed))) failed++
  console.log(`${values.seeds} seeds, ${failed} failed`)
  process.exitCode = failed === 0 ? 0 : 1
}
