// Adds up what the groups of tests left in a folder: `node tools/tally.js <folder> <exit code of make>`.
// Prints what failed, in few lines since only the end of a log may be kept, and the one closing line of CI; fails
// unless tests passed and nothing failed.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { groups } from './groups.js'

const [folder, makeCode] = [process.argv[2], Number(process.argv[3])]

const sum = { passed: 0, failed: 0, skipped: 0 }
for (const name of [...Object.keys(groups), 'bench-smoke', 'deploy']) {
  const file = join(folder, `${name}.json`)
  if (!existsSync(file)) {
    console.log(`${name}: did not run to its end`)
    sum.failed++
    continue
  }
  const counts = JSON.parse(readFileSync(file, 'utf8'))
  for (const key of Object.keys(sum)) sum[key] += counts[key]
  for (const failure of counts.failures ?? []) console.log(`${name}: ${failure}`)
  for (const about of counts.failures?.length ? briefly(counts.details) : []) console.log(about)
}

// What is no test, such as the lint, has no count of its own.
if (makeCode !== 0 && sum.failed === 0) sum.failed++

console.log(`${sum.passed} passed, ${sum.failed} failed${sum.skipped > 0 ? `, ${sum.skipped} skipped` : ''}`)
process.exit(sum.failed === 0 && sum.passed > 0 && makeCode === 0 ? 0 : 1)

/** Of each failure its title and the first lines of its reason, without source lines and stack. */
function briefly(details = '') {
  return details
    .split(/\n{3,}/)
    .map(about => about.split('\n').filter(line => line.trim() !== '' && !/^\s*(\d+:|at |›)/.test(line)))
    .filter(lines => lines.length > 1)
    .map(lines => lines.slice(0, 12).join('\n').slice(0, 700))
}
