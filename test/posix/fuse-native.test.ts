import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'
import { Cluster } from '../support/cluster.js'
import { runPython } from '../support/run-python.js'
import { differences } from './native-differences.js'
import { storyDifferences } from './native-story-differences.js'

const run = promisify(execFile)

/** What test/support/native_limits.py finds, by the titles of the table in docs/operations.md. */
const found: Readonly<Record<string, unknown>> = {
  '`utimensat`, `touch`': 'ENOSYS',
  times: [1_000_000_000, 2_000_000_000, 0, 0],
  locks: ['EAGAIN', 'ok'],
  '`fallocate`, `SEEK_DATA`, `SEEK_HOLE`': ['ENOTSUP', 1 << 20],
  '`renameat2` with flags, `O_TMPFILE`': ['EINVAL', 'ENOTSUP'],
  'names that are not UTF-8': [true, 'EINVAL', 'EINVAL', 'EINVAL', 'EINVAL', []],
  'hard links': ['before', 'before', 'after!', false],
  'devices and programs with set-user-ID': [true, true],
  'inode numbers': false,
  'a removed file that is open': [1, '0123456789'],
  '`O_CREAT` without `O_EXCL`': false,
  'other users': 1,
}

/** Would have to wait for a second that may not be up yet: what is stale is not asserted. */
const elsewhere = ["other mounts' changes"]

/** Those that conformance-native.test.ts has something to say of. */
const comparedRows = [
  ...differences.map(({ row }) => row),
  ...Object.values(storyDifferences).flatMap(({ rows }) => rows),
]

const root = fileURLToPath(new URL('../../../', import.meta.url))

let cluster: Cluster
let native: string
test.before(async () => {
  cluster = await Cluster.start()
  native = await cluster.addMount('native', ['--driver', 'fuse-native'])
})
test.after.always(() => cluster.dispose())

test.serial(
  'what docs/operations.md says of the driver fuse-native is so, and nothing is missing there',
  async t => {
    mkdirSync(path.join(cluster.mount, 'limits'))
    const lines = await runPython('native_limits.py', [
      path.join(native, 'limits'),
      path.join(cluster.mount, 'limits'),
    ])
    const rows = lines.map(line => JSON.parse(line) as { row: string; result: unknown })
    t.deepEqual(Object.fromEntries(rows.map(({ row, result }) => [row, result])), found)

    const page = readFileSync(path.join(root, 'docs/operations.md'), 'utf8')
    const section = page.split('## The second driver')[1]?.split('\n## ')[0] ?? ''
    const titles = [...section.matchAll(/^\| (.*?) \| /gm)]
      .map(match => match[1])
      .filter(row => row !== 'what')
    t.deepEqual(titles.sort(), [...new Set([...Object.keys(found), ...elsewhere, ...comparedRows])].sort())
  },
)

test.serial('a tree is copied to it and is the same there and on the other driver; git works', async t => {
  const tree = path.join(native, 'tree')
  await run('cp', ['-r', path.join(root, 'src/master'), tree])
  await run('diff', ['-r', path.join(root, 'src/master'), tree])
  await run('diff', ['-r', path.join(root, 'src/master'), path.join(cluster.mount, 'tree')])
  const git = async (...args: string[]): Promise<string> =>
    (await run('git', ['-C', tree, '-c', 'user.name=n', '-c', 'user.email=e', ...args])).stdout
  await git('init', '-q')
  await git('add', '.')
  await git('commit', '-q', '-m', 'all')
  t.is((await git('status', '--porcelain')).trim(), '')
  await git('fsck', '--strict')
  await run('rm', ['-r', path.join(native, 'tree')])
})

test.serial(
  'large files, extended attributes that do not fit, links, and an unmount that stores everything',
  async t => {
    const lines = await run('python3', [
      '-c',
      `import os, sys
top = sys.argv[1]
data = os.urandom(1 << 20) * 20
with open(top + '/big', 'wb') as file: file.write(data)
assert open(top + '/big', 'rb').read() == data
os.truncate(top + '/big', 5)
assert os.stat(top + '/big').st_size == 5
with open(top + '/big', 'r+b') as file: file.truncate(1 << 40)
assert os.stat(top + '/big').st_size == 1 << 40
os.setxattr(top + '/big', 'user.long', b'x' * 1000)
assert os.getxattr(top + '/big', 'user.long') == b'x' * 1000
assert os.listxattr(top + '/big') == ['user.long']
os.symlink('big', top + '/link'); assert os.readlink(top + '/link') == 'big'
os.link(top + '/big', top + '/hard'); assert os.stat(top + '/hard').st_nlink == 2
os.chmod(top + '/big', 0o600); os.chown(top + '/big', 1, -1)
assert (os.stat(top + '/big').st_mode, os.stat(top + '/big').st_uid, os.stat(top + '/big').st_gid) == (0o100600, 1, 0)
os.unlink(top + '/hard')
os.mkdir(top + '/d'); os.rename(top + '/big', top + '/d/moved')
print(sorted(os.listdir(top + '/d')))`,
      native,
    ])
    t.is(lines.stdout.trim(), "['moved']")
  },
)

test.serial('what is empty, long, odd or far out does not end it', async t => {
  const lines = await run('python3', [
    '-c',
    `import errno, os, sys
top, other = [os.fsencode(name) for name in sys.argv[1:]]
def code(act):
    try: act()
    except OSError as error: return errno.errorcode[error.errno]
file = top + b'/odd'
open(file, 'wb').close()
os.setxattr(file, 'user.empty', b'')
assert os.getxattr(file, 'user.empty') == b''
os.setxattr(file, 'user.large', bytes(65536))
assert len(os.getxattr(file, 'user.large')) == 65536
for n in range(200): os.setxattr(other + b'/odd', 'user.' + 'n' * 240 + str(n), b'')
assert len(os.listxattr(file)) == 202
os.mkdir(other + b'/names')
for byte in (0x80, 0xc3, 0xff): os.mkdir(other + b'/names/' + bytes([byte]) * 255)
assert [len(name) for name in os.listdir(top + b'/names')] == [765] * 3
os.symlink(b'\\xff' * 4000, other + b'/bytes'); assert code(lambda: os.readlink(top + b'/bytes')) == 'EINVAL'
os.symlink('\\u20ac' * 1365, other + b'/text'); assert os.readlink(top + b'/text').decode() == '\\u20ac' * 1365
os.truncate(file, 1 << 52)
assert code(lambda: os.truncate(file, (1 << 52) + 1)) == code(lambda: os.truncate(file, 1 << 62)) == 'EFBIG'
fd = os.open(file, os.O_RDWR)
assert code(lambda: os.pwrite(fd, b'x', 1 << 62)) == 'EFBIG' and os.pread(fd, 10, 1 << 62) == b''
os.close(fd)
os.chown(file, 0xfffffffe, 0xfffffffe); assert os.stat(file).st_uid == 0xfffffffe
os.mknod(top + b'/device', 0o20644, os.makedev(4095, 1048575))
assert os.stat(top + b'/device').st_rdev == os.stat(other + b'/device').st_rdev == os.makedev(4095, 1048575)
print(os.stat(file).st_size)`,
    native,
    cluster.mount,
  ])
  t.is(lines.stdout.trim(), String(2 ** 52))
})

test('an option that it cannot carry out is refused in one line', async t => {
  const { master } = await cluster.json<{ master: { address: string } }>('status')
  const error = await t.throwsAsync(
    run(process.execPath, [
      path.join(root, 'dist/cli/cairn.js'),
      ...['mount', master.address, native, '--driver', 'fuse-native', '-o', 'ro'],
    ]),
  )
  t.regex(error.message, /the driver fuse-native cannot carry out the mount option ro/)
})
