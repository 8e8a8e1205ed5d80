import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { measureFolder } from '#src/cli/bench/measure-folder.ts'
import { judge, verdictOf } from '#src/cli/bench/verdict.ts'
import { Progress } from '#src/cli/progress.ts'
import { cairnFails } from '../support/cluster.ts'

const folder = mkdtempSync(join(tmpdir(), 'cairn-bench-'))
test.after.always(() => rmSync(folder, { recursive: true }))

test('a figure is graded by its scale, where less may be better', t => {
  t.is(judge('write', 80).grade, 'good')
  t.is(judge('write', 79).grade, 'fair')
  t.is(judge('write', 1).grade, 'poor')
  t.is(judge('fsync', 15).grade, 'good')
  t.is(judge('fsync', 61).grade, 'poor')
})

test('the verdict names the worst', t => {
  t.regex(verdictOf([judge('write', 500), judge('fsync', 1)]), /^Good/)
  t.regex(verdictOf([judge('write', 50), judge('fsync', 1)]), /^Usable.*write a large file\.$/)
  t.is(
    verdictOf([judge('write', 50), judge('fsync', 100), judge('stat', 1)]),
    'Slow: write 4 KiB and fsync, look at them.',
  )
})

test('a folder is measured and left as it was', async t => {
  const figures = await measureFolder(folder, { bytes: 3 << 20, files: 20, partMs: 2000, direct: false })
  for (const [name, value] of Object.entries(figures)) t.true(value > 0 && Number.isFinite(value), name)
  t.deepEqual(readdirSync(folder), [])
})

test('what cannot be measured is said in one line', async t => {
  for (const [args, says] of [
    [['bench', join(folder, 'nothing')], /ENOENT/],
    [['bench', folder, '--size', '1000PiB'], /are free in .*: choose a smaller --size/],
    [['bench', folder, '--size', 'much'], /must be a number of bytes/],
    [['warmup', folder], /is not on a Cairn mount/],
    [['locate', folder], /is not on a Cairn mount/],
  ] as const) {
    const { code, stderr, stdout } = await cairnFails(args)
    t.deepEqual([code, stdout], [2, ''], args.join(' '))
    t.regex(stderr, says)
  }
})

test('progress tells share, rate and estimate', t => {
  let now = 1000
  const progress = new Progress('Reading', 100 << 20, () => now)
  now = 3000
  t.is(progress.line(50 << 20), 'Reading ██████████░░░░░░░░░░ 50 %, 25.0 MiB/s, 2 s to go')
  t.regex(new Progress('Reading', 0, () => now).line(0), /100 %/)
})
