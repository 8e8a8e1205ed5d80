import test, { type ExecutionContext } from 'ava'
import { Cluster } from '../support/cluster.js'
import { comparedCases, shownCase } from '../support/posix-cases.js'

/**
 * The same system calls on the mount and on a local folder (ext4 where this was written), as several
 * users: each case's errno, and what became of attributes and times, must be alike. The table has some
 * 30,000 cases; CAIRN_POSIX_OF=1 carries out all, the default every 97th (a number that is no divisor of
 * the table's sides), from CAIRN_POSIX_SHARE on. The other driver: conformance-native.test.ts.
 */
const share = process.env['CAIRN_POSIX_SHARE'] ?? '11'
const of = process.env['CAIRN_POSIX_OF'] ?? '97'
const timeoutMs = of === '97' ? 150_000 : 24 * 3600_000

let cluster: Cluster
test.before(async () => {
  cluster = await Cluster.start()
})
test.after.always(() => cluster.dispose())

async function compare(t: ExecutionContext, script: string, args: readonly string[]): Promise<void> {
  const cases = await comparedCases(cluster.mount, script, args, timeoutMs)
  t.true(cases.length > 20)
  const differ = cases.filter(({ mount, local }) => shownCase(mount) !== shownCase(local))
  const shown = differ.map(
    ({ name, mount, local }) => `${name}\nCairn ${shownCase(mount)}\nlocal ${shownCase(local)}`,
  )
  t.is(differ.length, 0, `\n${shown.slice(0, 20).join('\n')}`)
}

test.serial('every operation on every kind of object, by whom it may concern', async t => {
  t.timeout(timeoutMs + 10_000)
  await compare(t, 'conformance.py', [share, of])
})

test.serial('wrong arguments, limits, rights, odd kinds of files', async t => {
  t.timeout(160_000)
  await compare(t, 'scenarios_edges.py', [])
})

test.serial('privileges, unlinked files, races, big directories, holes, locks, mappings', async t => {
  t.timeout(160_000)
  await compare(t, 'scenarios.py', [])
})
