import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { Cluster } from '../support/cluster.js'
import { runPython } from '../support/run-python.js'

/**
 * The same system calls on the mount and on a local folder (ext4 where this was written), as several
 * users: each case's errno, and what became of attributes and times, must be alike. The table has some
 * 30,000 cases; CAIRN_POSIX_OF=1 carries out all, the default every 97th (a number that is no divisor of
 * the table's sides), from CAIRN_POSIX_SHARE on.
 */
const share = process.env['CAIRN_POSIX_SHARE'] ?? '11'
const of = process.env['CAIRN_POSIX_OF'] ?? '97'
const timeoutMs = of === '97' ? 150_000 : 24 * 3600_000

interface Case {
  readonly case: string
  readonly result: unknown
  readonly changes?: unknown
}

let cluster: Cluster
test.before(async () => {
  cluster = await Cluster.start()
})
test.after.always(() => cluster.dispose())

async function compare(t: ExecutionContext, script: string, args: readonly string[]): Promise<void> {
  const folders = [
    mkdtempSync(path.join(cluster.mount, 'posix-')),
    mkdtempSync(path.join(os.tmpdir(), 'cairn-local-')),
  ]
  for (const folder of folders) chmodSync(folder, 0o755)
  try {
    const lines = await Promise.all(folders.map(folder => runPython(script, [folder, ...args], timeoutMs)))
    const [ours = [], theirs = []] = lines.map(side => side.map(line => JSON.parse(line) as Case))
    t.true(theirs.length > 20)
    t.false(
      theirs.some(
        ({ result }) => typeof result === 'object' && JSON.stringify(result).startsWith('{"failed"'),
      ),
    )
    t.is(ours.length, theirs.length)
    const shown = ({ case: name, result, changes }: Case) => JSON.stringify([name, result, changes])
    const differ = ours.flatMap((mine, n) => {
      const local = theirs[n]
      if (local === undefined || shown(mine) === shown(local)) return []
      return [`Cairn ${shown(mine)}\nlocal ${shown(local)}`]
    })
    t.is(differ.length, 0, `\n${differ.slice(0, 20).join('\n')}`)
  } finally {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true })
  }
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
