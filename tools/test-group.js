// Runs one group of tests: `node tools/test-group.js unit`.
//
// With CAIRN_TEST_RESULTS=<folder> the tests are printed as a list, and <folder>/<group>.json gets the counts
// which `.ci/run` adds up. The file is written last: a group that was killed leaves none.
import { spawn } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
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

const args = ['--concurrency', String(group.concurrency), ...(results ? ['--tap'] : []), ...files]
const ava = spawn(join('node_modules', '.bin', 'ava'), args, {
  stdio: ['ignore', results ? 'pipe' : 'inherit', 'inherit'],
})
const exited = new Promise((resolve, reject) => {
  ava.on('error', reject)
  ava.on('close', (code, signal) => resolve({ code, signal }))
})

const counts = { passed: 0, failed: 0, skipped: 0 }
let finished = false
if (results) {
  for await (const line of createInterface({ input: ava.stdout })) count(line)
}

const { code, signal } = await exited
if (signal) console.error(`${name}: ava was ended by ${signal}`)
if (results) {
  // An interrupted run, or one that failed outside of any test, counts as a failure of its own.
  if (!finished || (code !== 0 && counts.failed === 0)) counts.failed++
  report(counts)
}
process.exit(code ?? 1)

/** The closing lines of the runner are authoritative; without them, what was listed so far is counted. */
function count(line) {
  const total = /^# (tests|pass|fail|skip) (\d+)$/.exec(line)
  if (!total) {
    if (/^ok .* # SKIP$/.test(line)) counts.skipped++
    else if (line.startsWith('ok ')) counts.passed++
    else if (line.startsWith('not ok ')) counts.failed++
    if (!/^(TAP version|1\.\.\d)/.test(line)) console.log(line)
    return
  }
  const n = Number(total[2])
  if (total[1] === 'tests') Object.assign(counts, { passed: 0, failed: 0, skipped: 0 })
  else if (total[1] === 'pass') counts.passed = n
  else if (total[1] === 'skip') counts.skipped = n
  else {
    counts.failed = n
    finished = true
  }
}

function report(outcome) {
  if (results) writeFileSync(join(results, `${name}.json`), JSON.stringify(outcome))
}
