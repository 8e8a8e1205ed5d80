import test, { type ExecutionContext } from 'ava'
import { Cluster } from '../support/cluster.js'
import { comparedCases, isFailure, shownCase } from '../support/posix-cases.js'
import { differences, expectedOnNative, type Outcome, tableCaseOf } from './native-differences.js'
import { anyCount, storyDifferences } from './native-story-differences.js'

/**
 * conformance.test.ts on a mount by the second driver, fuse-native: all is as on ext4 but for what is listed in
 * native-differences.ts and native-story-differences.ts, and that occurs. (That docs/operations.md tells of each:
 * fuse-native.test.ts.) Of the table every 67th case, if not told otherwise (CAIRN_POSIX_OF, CAIRN_POSIX_SHARE), and an
 * example of each difference.
 */
const share = process.env['CAIRN_POSIX_SHARE'] ?? '11'
const of = process.env['CAIRN_POSIX_OF'] ?? '67'
const timeoutMs = process.env['CAIRN_POSIX_OF'] === undefined ? 170_000 : 24 * 3600_000

let cluster: Cluster
let native: string
test.before(async () => {
  cluster = await Cluster.start()
  native = await cluster.addMount('native', ['--driver', 'fuse-native'])
})
test.after.always(() => cluster.dispose())

test.serial('the table of operations, objects and users', async t => {
  t.timeout(timeoutMs + 10_000)
  const examples = differences.map(({ example }) => example)
  const cases = await comparedCases(native, 'conformance.py', [share, of, ...examples], timeoutMs)
  t.true(cases.length > 20)
  const wrong = cases.flatMap(({ name, mount, local }) => {
    const expected = expectedOnNative(tableCaseOf(name), local as Outcome).map(shownCase)
    return expected.includes(shownCase(mount))
      ? []
      : [
          `${name}\nfuse-native ${shownCase(mount)}\nlisted ${expected.join(' or ')}\nlocal ${shownCase(local)}`,
        ]
  })
  t.is(wrong.length, 0, `\n${wrong.slice(0, 20).join('\n')}`)

  const alike = new Set(
    cases.filter(({ mount, local }) => shownCase(mount) === shownCase(local)).map(({ name }) => name),
  )
  const carriedOut = new Set(cases.map(({ name }) => name))
  for (const { row, example, becomes } of differences) {
    t.true(carriedOut.has(example), example)
    t.false(alike.has(example), `${row}: ${example} is as on ext4 now`)
    const local = cases.find(({ name }) => name === example)?.local
    t.true(
      local !== undefined && becomes(tableCaseOf(example), local as Outcome).length > 0,
      `${row}: ${example}`,
    )
  }
})

async function compareStories(t: ExecutionContext, script: string): Promise<string[]> {
  t.timeout(timeoutMs + 10_000)
  const cases = await comparedCases(native, script, [], timeoutMs)
  t.true(cases.length > 20)
  for (const { name, mount, local } of cases) {
    const listed = storyDifferences[name]
    const expected = listed === undefined ? local.result : listed.becomes(local.result as never)
    t.deepEqual(readAs(mount.result, expected), expected, name)
    if (listed !== undefined && listed.byChance !== true)
      t.notDeepEqual(mount.result, local.result, `${name} is as on ext4 now`)
  }
  return cases.map(({ name }) => name)
}

/** What was found, with counts where any will do, and of what ended the errno. */
function readAs(found: unknown, expected: unknown): unknown {
  if (expected === anyCount) return typeof found === 'number' && found >= 0 ? anyCount : found
  if (isFailure(found)) return { failed: codeOf((found as { failed: string }).failed) }
  if (!Array.isArray(found) || !Array.isArray(expected)) return found
  return found.map((value, n): unknown => readAs(value, expected[n]))
}

/** The errno in Python's `OSError(95, 'Operation not supported')`. */
function codeOf(exception: string): string {
  const number = /^\w+\((\d+), /.exec(exception)?.[1]
  const codes: Readonly<Record<string, string>> = {
    2: 'ENOENT',
    13: 'EACCES',
    22: 'EINVAL',
    38: 'ENOSYS',
    95: 'ENOTSUP',
  }
  return codes[number ?? ''] ?? exception
}

test.serial('the stories, and that each which is listed was told', async t => {
  const told = [
    ...(await compareStories(t, 'scenarios.py')),
    ...(await compareStories(t, 'scenarios_edges.py')),
  ]
  t.deepEqual(
    Object.keys(storyDifferences).filter(name => !told.includes(name)),
    [],
  )
})
