import { spawn, spawnSync } from 'node:child_process'
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  promises as fs,
  readdirSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import test from 'ava'
import { cairn, cairnFails, cairnProgram, Cluster } from '../support/cluster.js'

/** One clear line each, exit code not 0, nothing lost, no daemon down. */
let cluster: Cluster
let scratch: string
let master: string
test.before(async () => {
  scratch = mkdtempSync(path.join(os.tmpdir(), 'cairn-bad-'))
  cluster = await Cluster.start()
  master = (await cluster.json<{ master: { address: string } }>('status')).master.address
})
test.after.always(async () => {
  await cluster.dispose()
  rmSync(scratch, { recursive: true, force: true })
})

const folder = (name: string): string => {
  const dir = path.join(scratch, name)
  mkdirSync(dir, { recursive: true })
  return dir
}

const refused = test.macro(async (t, args: () => string[] | Promise<string[]>, says: RegExp) => {
  const outcome = await cairnFails(await args())
  t.not(outcome.code, 0)
  t.regex(outcome.stderr, says)
  t.notRegex(outcome.stderr, /\n\s+at /, 'no stack trace')
  const lines = outcome.stderr
    .trim()
    .split('\n')
    .filter(line => !line.startsWith('('))
  t.is(lines.length, 1, outcome.stderr)
})

test('an unknown flag', refused, () => ['status', '--colour'], /unknown option '--colour'/)
test('an unknown command', refused, () => ['stauts'], /unknown command 'stauts'.*status|Did you mean status/s)
test(
  'a bad number',
  refused,
  () => ['up', '--dir', folder('n'), '--chunkservers', 'many'],
  /--chunkservers must be a whole number/,
)
test('no cluster named', refused, () => ['status'], /--master HOST:PORT/)
test('a folder without a cluster', refused, () => ['status', '--dir', folder('none')], /no cluster/)
test(
  'a master that is away',
  refused,
  () => ['status', '--master', '127.0.0.1:1'],
  /no answer from the master at 127\.0\.0\.1:1/,
)
test('a bad address', refused, () => ['status', '--master', 'nowhere'], /nowhere/)
test(
  'a mount of a bad address',
  refused,
  () => ['mount', '127.0.0.1:99999', folder('m0')],
  /127\.0\.0\.1:99999.*HOST:PORT/,
)
test(
  'a chunkserver with a bad address of its master',
  refused,
  () => ['chunkserver', '--data', folder('c0'), '--master', 'foo', '--listen', '127.0.0.1:0'],
  /foo.*HOST:PORT/,
)
test(
  'a bad listen address',
  refused,
  () => ['master', '--data', folder('m1'), '--listen', '127.0.0.1:notaport'],
  /notaport/,
)
test(
  'an address that others reach, without TLS',
  refused,
  () => ['master', '--data', folder('m1'), '--listen', '0.0.0.0:0'],
  /without TLS.*cairn cluster init/,
)
test(
  'an unusable data folder',
  refused,
  () => ['master', '--data', '/proc/nothing', '--listen', '127.0.0.1:0'],
  /\/proc\/nothing/,
)
test('a port in use', refused, () => ['master', '--data', folder('m2'), '--listen', master], /in use/)
test(
  'a data folder in use',
  refused,
  () => ['master', '--data', path.join(cluster.dir, 'master'), '--listen', '127.0.0.1:0'],
  /in use/,
)
test(
  'a store in use',
  refused,
  () => [
    'chunkserver',
    '--data',
    path.join(cluster.dir, 'chunkserver-1'),
    '--master',
    master,
    '--listen',
    '127.0.0.1:0',
  ],
  /in use/,
)
test(
  'a mount point that is missing',
  refused,
  () => ['mount', master, path.join(scratch, 'missing')],
  /missing/,
)
test(
  'a mount point that is a file',
  refused,
  async () => {
    await fs.writeFile(path.join(scratch, 'plain'), '')
    return ['mount', master, path.join(scratch, 'plain')]
  },
  /not a directory/,
)
test(
  'a mount point that is not empty',
  refused,
  () => {
    writeFileSync(path.join(folder('full'), 'file'), '')
    return ['mount', master, path.join(scratch, 'full')]
  },
  /not empty/,
)
test(
  'a mount point that is mounted already',
  refused,
  () => ['mount', master, cluster.mount],
  /mounted already|already/,
)
test('an unknown mount option', refused, () => ['mount', master, folder('opt'), '-o', 'colour=red'], /colour/)
test(
  'a mount of a master that is away',
  refused,
  () => ['mount', '127.0.0.1:1', folder('away')],
  /127\.0\.0\.1:1/,
)
test('a mount by somebody who is not root', async t => {
  // In a user namespace of its own, where nobody is root.
  for (const [args, says] of [
    [['mount', master, folder('nobody')], /mounting needs root/],
    [['up', '--dir', folder('nobodys'), '--mount', folder('nobody')], /mounting needs root.*--mount/],
  ] as const) {
    const { status, stderr } = spawnSync('unshare', ['--user', process.execPath, cairnProgram, ...args], {
      encoding: 'utf8',
    })
    t.is(status, 2)
    t.regex(stderr, says)
    t.is(stderr.trim().split('\n').length, 1)
  }
  t.deepEqual(readdirSync(folder('nobodys')), [])
})
test('not a mount', refused, () => ['umount', folder('notmounted')], /not a Cairn mount/)
test('info of what is not on a mount', refused, () => ['info', scratch], /not on a Cairn mount/)
test('a cluster that runs already', refused, () => ['up', '--dir', cluster.dir], /running already/)

test('the store of another cluster is refused', async t => {
  const other = await Cluster.start({ chunkservers: 1, mount: false })
  t.teardown(() => other.dispose())
  await other.down()
  const outcome = await cairnFails([
    'chunkserver',
    '--data',
    path.join(other.dir, 'chunkserver-1'),
    '--master',
    master,
    '--listen',
    '127.0.0.1:0',
  ])
  t.not(outcome.code, 0)
  t.regex(outcome.stderr, /belongs to cluster/)
  await other.up()
})

test('a corrupted database is noticed at start, and never half used', async t => {
  const other = await Cluster.start({ chunkservers: 1, mount: false })
  t.teardown(() => other.dispose())
  await other.down()
  for (const part of ['master', 'chunkserver-1']) {
    const dir = path.join(other.dir, part)
    const name = readdirSync(dir).find(each => /\.(db|sqlite3?)$/.test(each))
    t.truthy(name, `${dir} has a database`)
    // The write-ahead log may hold the first page too.
    const files = readdirSync(dir)
      .filter(each => each === name || each === `${name ?? ''}-wal`)
      .map(each => path.join(dir, each))
    const kept = await Promise.all(files.map(file => fs.readFile(file)))
    const args = part === 'master' ? [] : ['--master', master]
    const restore = async (): Promise<void> => {
      for (const [index, file] of files.entries()) await fs.writeFile(file, kept[index] ?? '')
    }
    // The first page, and one among the others.
    for (const at of [0, 8192]) {
      for (const file of files) {
        const fd = openSync(file, 'r+')
        writeSync(fd, Buffer.alloc(100, 'garbage'), 0, 100, at)
        closeSync(fd)
      }
      const outcome = await cairnFails([
        part.replace(/-1$/, ''),
        '--data',
        dir,
        '--listen',
        '127.0.0.1:0',
        ...args,
      ])
      t.not(outcome.code, 0)
      t.regex(outcome.stderr, /damaged|corrupt|not a database/)
      t.is(outcome.stderr.trim().split('\n').length, 1, outcome.stderr)
      await restore()
    }
  }
  await other.up()
})

test('hostile bytes on a daemon\u2019s port change nothing', async t => {
  const status = await cluster.json<{ nodes: { address: string }[] }>('status')
  for (const address of [master, ...status.nodes.map(node => node.address)])
    for (const bytes of [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.alloc(100_000, 0xff),
      Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff', 'latin1'),
    ]) {
      const [host, port] = address.split(':')
      await new Promise<void>(resolve => {
        const socket = net.connect(Number(port), host, () => {
          socket.end(bytes)
        })
        socket.on('error', () => undefined)
        socket.on('close', () => {
          resolve()
        })
        socket.resume()
        setTimeout(() => socket.destroy(), 1000).unref()
      })
    }
  const after = await cluster.json<{ health: string; nodes: { state: string }[] }>('status')
  t.is(after.health, 'ok')
})

test('a mount returns when it is usable, and umount when all is written back', async t => {
  const dir = folder('second')
  await cairn(['mount', master, dir])
  t.teardown(async () => {
    await cairnFails(['umount', '--lazy', dir])
  })
  await fs.writeFile(path.join(dir, 'from-second'), 'hello')
  t.is(await fs.readFile(path.join(dir, 'from-second'), 'utf8'), 'hello')
  await cairn(['umount', dir])
  t.is(await fs.readFile(path.join(cluster.mount, 'from-second'), 'utf8'), 'hello')
})

test('a mount read-only refuses writes', async t => {
  const dir = folder('ro')
  await cairn(['mount', master, dir, '-o', 'ro'])
  t.teardown(async () => {
    await cairnFails(['umount', dir])
  })
  await t.throwsAsync(fs.writeFile(path.join(dir, 'x'), ''), { code: 'EROFS' })
})

test('up prints one line and fails where the folder cannot be used', async t => {
  const child = spawn(process.execPath, [cairnProgram, 'up', '--dir', '/proc/cairn'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  const code = await new Promise(resolve => child.on('exit', resolve))
  t.not(code, 0)
  t.regex(stderr, /cannot use the folder \/proc\/cairn/)
})
