/**
 * `make test-deploy`: what docs/operations.md says of installing, on machines with systemd. Each step builds on those
 * before it, so the first that fails is the last. Closes with one line, "N passed, N failed".
 */
import { statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { onInterrupt } from './on-interrupt.js'
import { Site } from './site.js'
import { steps } from './steps.js'

const goOn = process.argv.includes('--go-on')
const files = process.argv.slice(2).filter(each => each !== '--go-on')
const [first, second] = files.map(file => path.resolve(file))
if (first === undefined || second === undefined) {
  console.error(
    'Usage: node run.js [--go-on] PACKAGE NEWER-PACKAGE (--go-on: also the steps after one that failed)',
  )
  process.exit(2)
}
for (const file of [first, second]) statSync(file)

const began = Date.now()
const say = (text: string): void => {
  console.log(`${String(Math.round((Date.now() - began) / 1000)).padStart(4)} s  ${text}`)
}

let passed = 0
let failed = 0
/** What failed, for the end of a long log. */
const failures: string[] = []
let site: Site | undefined
let disposed: Promise<void> | undefined
const dispose = (): Promise<void> => (disposed ??= site?.dispose() ?? Promise.resolve())

onInterrupt(signal => {
  say(`${signal}: cleaning up`)
  return dispose()
})

try {
  site = await Site.make()
  for (const [name, step] of steps) {
    if (failed > 0 && !goOn) {
      console.log(`  - ${name}: not run`)
      failures.push(`${name}: not run`)
      failed++
      continue
    }
    say(`… ${name}`)
    try {
      await step(site, { first, second, say })
      say(`✔ ${name}`)
      passed++
    } catch (error) {
      say(`✘ ${name}\n${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
      failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`.slice(0, 500))
      failed++
      await tellWhatMachinesSay(site)
    }
  }
} catch (error) {
  console.error(error)
  failed++
} finally {
  say('cleaning up')
  try {
    await dispose()
  } catch (error) {
    console.error('not everything could be cleaned up:', error)
    failed++
  }
}
const results = process.env['CAIRN_TEST_RESULTS']
if (results !== undefined)
  writeFileSync(path.join(results, 'deploy.json'), JSON.stringify({ passed, failed, skipped: 0, failures }))
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)

async function tellWhatMachinesSay(from: Site): Promise<void> {
  for (const machine of from.all) {
    const script =
      "systemctl --failed --no-legend --plain; journalctl --no-pager -q -n 40 -o short-precise -u 'cairn-*' -u 'mnt-*' -p info"
    const { output } = await machine.try(`${script}; tail -n 20 /var/log/cairn/*.log 2> /dev/null`, 20_000)
    console.log(`---- ${machine.name}\n${output}`)
  }
}
