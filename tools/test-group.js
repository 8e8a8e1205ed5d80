// Runs one group of tests: `node tools/test-group.js unit`.
//
// With CAIRN_TEST_RESULTS=<folder> it leaves the counts in <folder>/<group>.json, which `.ci/run` adds up. The
// file is written last: a group that was killed leaves none. The counts are read from ava's report for people:
// its TAP report dies of a timeout and of a test that calls process.exit(). What it says of failures is left, too,
// so that the end of a long log tells what to look at.
import { spawn } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { stripVTControlCharacters } from 'node:util'
import { groups, testFilesOf } from './groups.js'

const name = process.argv[2]
const group = groups[name]
if (!group) {
  console.error(`Usage: node tools/test-group.js ${Object.keys(groups).join('|')}`)
  process.exit(2)
}

const results = process.env.CAIRN_TEST_RESULTS

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
/** What ava says of the failures: a line each as they come, and after the first line of one dash all about them. */
const failures = []
let details
for await (const line of createInterface({ input: ava.stdout })) {
  console.log(line)
  const plain = stripVTControlCharacters(line)
  count(plain)
  keep(plain)
}

const { code, signal } = await exited
if (signal) console.error(`${name}: ava was ended by ${signal}`)
// What failed outside of any test, such as a file that did not load, counts as one.
if (code !== 0 && counts.failed === 0) counts.failed = 1
report(counts)
process.exit(code ?? 1)

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
