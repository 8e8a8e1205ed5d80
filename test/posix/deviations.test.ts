import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { cairn, Cluster } from '../support/cluster.js'
import { runPython } from '../support/run-python.js'

const readme = fileURLToPath(new URL('../../../README.md', import.meta.url))

/** What test/support/deviations.py finds on a mount, by the titles of the README's table. */
const found: Readonly<Record<string, unknown>> = {
  '`sync`, `syncfs`': [0, 'ok'],
  '`fallocate` with `COLLAPSE_RANGE`, `INSERT_RANGE`': ['ENOTSUP', 'ENOTSUP'],
  '`fallocate`': [1 << 20, 0, 'ENXIO'],
  '`FIEMAP`, `swapon`': ['ENOTSUP', 'EINVAL'],
  '`lsattr`, `chattr`, `FITRIM` and other `ioctl`s of ext4': Array(5).fill('ENOTTY'),
  '`preadv2`, `pwritev2` with `RWF_NOWAIT`, `RWF_DONTCACHE`': ['ENOTSUP', 'ENOTSUP'],
  '`O_DIRECT`': [3, 'odd'],
  // The mount has just made the symlink.
  '`O_PATH`': [10, 'ESTALE', 'ENODATA', 'target'],
  'a large `write`': 3 << 20,
  'stores through `mmap`': [false, true],
  'access times': [10, true],
  'times of FIFOs, sockets and devices': true,
  'times after 2262': 9_223_372_036_000_000_000,
  '`F_GETLK`': true,
  '`/proc/locks`': 0,
  '`fanotify` with `FAN_REPORT_FID`': [0, 'ENODEV', 'ENODEV'],
  '`lseek`': true,
  'the largest file': ['ok', 'EFBIG'],
  '`pathconf`': 127,
  '`trusted.*` names': 1,
  '`df -l`, `du`': [1, true, 1],
}

/** Those that need more than a folder of a mount: see below, and test/mounts. */
const elsewhere = [
  '`mount -o remount,rw`',
  '`flock` and OFD locks of a closed file',
  'a lock that waits',
  'a mount process that is stopped (`SIGSTOP`)',
  '`inotify`, `fanotify`',
  'the size of a file that another mount made longer',
  '`rename` of one name to one other by two mounts at once',
]

let cluster: Cluster
test.before(async () => {
  cluster = await Cluster.start()
})
test.after.always(() => cluster.dispose())

test('what the README says to be different from ext4 is so, and nothing of it is missing there', async t => {
  const folder = mkdtempSync(path.join(cluster.mount, 'deviations-'))
  const lines = await runPython('deviations.py', [folder])
  const rows = lines.map(line => JSON.parse(line) as { row: string; result: unknown })
  t.deepEqual(Object.fromEntries(rows.map(({ row, result }) => [row, result])), found)

  const table = readFileSync(readme, 'utf8').split('## Deviations from ext4')[1]?.split('\n## ')[0] ?? ''
  const titles = [...table.matchAll(/^\| (.*?) \| /gm)].map(match => match[1]).filter(row => row !== 'what')
  t.deepEqual(titles.sort(), [...Object.keys(found), ...elsewhere].sort())
  rmSync(folder, { recursive: true })
})

test('what was mounted to be read stays so', async t => {
  const { master } = await cluster.json<{ master: { address: string } }>('status')
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cairn-ro-'))
  try {
    await cairn(['mount', master.address, folder, '-o', 'ro'])
    try {
      execFileSync('mount', ['-i', '-o', 'remount,rw', folder])
      t.throws(() => writeFileSync(path.join(folder, 'new'), ''), { code: 'EROFS' })
    } finally {
      await cairn(['umount', folder])
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})
