import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import test from 'ava'
import { Cluster } from '../support/cluster.js'
import { Dice, randomCall } from '../support/random-calls.js'
import { Syscalls } from '../support/syscalls.js'

/**
 * The same random system calls on the mount and on a local folder: results, errnos, contents and
 * attributes must be alike. CAIRN_DIFF_SEED and CAIRN_DIFF_CALLS name other seeds (7,8,9), or a longer run.
 */
const calls = Number(process.env['CAIRN_DIFF_CALLS'] ?? 1500)
const only = process.env['CAIRN_DIFF_SEED']
const seeds = (only ?? '1,2,3,4,5,6').split(',').map(Number)

/** What the two sides may differ in, each with the reason. */
function alike(op: string, ours: unknown, theirs: unknown): boolean {
  if (JSON.stringify(ours) === JSON.stringify(theirs)) return true
  // A hole may be reported as data (lseek(2) allows it), and page granularity is the file system's own.
  return (
    op === 'lseek' &&
    typeof ours === 'object' &&
    typeof theirs === 'object' &&
    'ok' in (ours as object) &&
    'ok' in (theirs as object)
  )
}

let cluster: Cluster
test.before(async () => {
  cluster = await Cluster.start()
})
test.after.always(() => cluster.dispose())

for (const seed of seeds)
  test.serial(
    `random system calls are answered as by the local file system (seed ${String(seed)})`,
    async t => {
      const local = mkdtempSync(path.join(os.tmpdir(), 'cairn-local-'))
      const mounted = mkdtempSync(path.join(cluster.mount, 'diff-'))
      // One level down, since symlinks lead to ../b, and what is there must be the run's own.
      const inside = (folder: string) => path.join(folder, 'top')
      for (const folder of [local, mounted]) {
        mkdirSync(inside(folder))
        // Other users come in, too.
        for (const each of [folder, inside(folder)]) chmodSync(each, 0o777)
      }
      const ours = new Syscalls(inside(mounted))
      const theirs = new Syscalls(inside(local))
      try {
        const dice = new Dice(seed)
        const history: string[] = []
        for (let n = 0; n < calls; n++) {
          const request = randomCall(dice)
          const [a, b] = await Promise.all([ours.call(request), theirs.call(request)])
          history.push(`${JSON.stringify(request)} → ${JSON.stringify(b)}`)
          if (!alike(request.op, a, b)) {
            t.log(history.slice(-25).join('\n'))
            t.fail(
              `seed ${String(seed)}, call ${String(n)}: ${JSON.stringify(request)}: Cairn ${JSON.stringify(a)}, local ${JSON.stringify(b)}`,
            )
            return
          }
        }
        for (const side of [ours, theirs]) await side.must({ op: 'become', uid: 0, gid: 0 })
        t.deepEqual(await ours.must({ op: 'tree' }), await theirs.must({ op: 'tree' }))
      } finally {
        await Promise.all([ours.close(), theirs.close()])
        for (const folder of [local, mounted]) rmSync(folder, { recursive: true, force: true })
      }
    },
  )
