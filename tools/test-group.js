// Runs one group of tests: `node tools/test-group.js unit`.
//
// With CAIRN_TEST_RESULTS=<folder> it leaves the counts in <folder>/<group>.json, which `.ci/run` adds up. The
// file is written last: a group that was killed leaves none. The counts are read from ava's report for people:
// its TAP report dies of a timeout and of a test that calls process.exit(). What it says of failures is left, too,
// so that the end of a long log tells what to look at.
//
// Ava's own timeout is not to be relied on: a test that sets its own one takes it from the whole run, and a worker that
// does not end is then waited for without end. Here the run is interrupted when nothing was said for long.
import { spawn } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { clearTimeout, setTimeout } from 'node:timers'
import { stripVTControlCharacters } from 'node:util'
import { groups, testFilesOf } from './groups.js'

const name = process.argv[2]
const group = groups[name]
if (!group) {
  console.error(`Usage: node tools/test-group.js ${Object.keys(groups).join('|')}`)
  process.exit(2)
}

const results = process.env.CAIRN_TEST_RESULTS
/** The longest tests take four minutes. */
const silentMaxMs = 10 * 60_000
/** Ava then tells what failed and what was running; if it does not end by that either, it is killed. */
const interruptedMaxMs = 60_000

const files = testFilesOf(group)
if (files.length === 0) {
  console.log(`${name}: no test files`)
  report({ passed: 0, failed: 0, skipped: 0 })
  process.exit(0)
}

if (group.needsMounts && (process.getuid() !== 0 || !existsSync('/dev/fuse'))) {
  console.error(`${name}: these tests mount file systems: they need root and /dev/fuse`)
  report({ passed: 0, failed: 1, skipped: 0 })
  process.exit(1)
}

// Only the report is on ava's standard output: what the tests print goes to standard error.
const ava = spawn(
  join('node_modules', '.bin', 'ava'),
  ['--concurrency', String(group.concurrency), ...files],
  {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: process.stdout.isTTY ? { FORCE_COLOR: '1', ...process.env } : process.env,
  },
)
const exited = new Promise((resolve, reject) => {
  ava.on('error', reject)
  ava.on('close', (code, signal) => resolve({ code, signal }))
})

const totalOfFailures = new RegExp(
  `^\\s*(?:[✘×] )?(\\d+) (?:${[
    'hooks? failed',
    'tests? failed',
    'tests? remaining in \\S+',
    'tests? remained pending after a timeout',
    'uncaught exceptions?',
    'unhandled rejections?',
    'known failures?',
  ].join('|')})$`,
)

const counts = { passed: 0, failed: 0, skipped: 0 }
let watchdog = setTimeout(interrupt, silentMaxMs)
let interrupted = false
/** What ava says of the failures: a line each as they come, and after the first line of one dash all about them. */
const failures = []
let details
for await (const line of createInterface({ input: ava.stdout })) {
  console.log(line)
  if (!interrupted) watchdog.refresh()
  const plain = stripVTControlCharacters(line)
  count(plain)
  keep(plain)
}

const { code, signal } = await exited
clearTimeout(watchdog)
if (signal) console.error(`${name}: ava was ended by ${signal}`)
// What failed outside of any test, such as a file that did not load, counts as one.
if ((code !== 0 || interrupted) && counts.failed === 0) counts.failed = 1
report(counts)
process.exit(interrupted ? 1 : (code ?? 1))

function interrupt() {
  const said = `${name}: interrupted, as nothing was said for ${String(silentMaxMs / 60_000)} minutes`
  console.error(said)
  failures.push(said)
  interrupted = true
  ava.kill('SIGINT')
  watchdog = setTimeout(() => ava.kill('SIGKILL'), interruptedMaxMs)
}

/** Passed tests are listed one by one; the closing lines have their number only when nothing failed. */
function count(line) {
  if (/^\s*[✔√] (?!\[expected fail\])/.test(line)) counts.passed++
  if (/^\s*- \[(skip|todo)\]/.test(line)) counts.skipped++
  if (/^\s*[✘×] \S+ exited due to /.test(line)) counts.failed++
  counts.failed += Number(totalOfFailures.exec(line)?.[1] ?? 0)
}

/** What the end of a long log is to tell again: see tally.js. */
function keep(line) {
  if (/^\s*[✘×] \[fail\]|exited due to|Timed out/.test(line)) failures.push(line.trim())
  if (/^\s*─$/.test(line)) details ??= ''
  else if (details !== undefined) details += `${line}\n`
}

function report(outcome) {
  if (results) writeFileSync(join(results, `${name}.json`), JSON.stringify({ ...outcome, failures, details }))
}
