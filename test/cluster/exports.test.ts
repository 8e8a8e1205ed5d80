/** Parts of the tree for certain mounts, over TLS. */
import { createHash, randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import test, { type ExecutionContext } from 'ava'
import { execFile, spawnSync } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  fsyncSync,
  openSync,
  writeSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { errno } from '#src/core/errors.ts'
import { cairnFails, cairnProgram } from '../support/cluster.js'
import { exportsWorld } from '../support/tls-cluster.js'

const codeOf = (attempt: () => unknown): string => {
  try {
    attempt()
    return 'done'
  } catch (error) {
    const { code, errno: number = 0 } = error as NodeJS.ErrnoException
    // Node has no name for it.
    return number === -errno.EKEYREVOKED ? 'EKEYREVOKED' : (code ?? String(error))
  }
}

/** Until it is so: what a mount is told it is told within moments. */
async function until(t: ExecutionContext, wanted: string, attempt: () => string): Promise<void> {
  let last = ''
  for (let tries = 0; tries < 400 && last !== wanted; tries++) {
    last = attempt()
    if (last !== wanted) await sleep(50)
  }
  t.is(last, wanted)
}

test('a mount of an export has a folder for its root, and rules that are changed under it', async t => {
  const { cluster, all, exported } = await exportsWorld(t)
  const rates = ['--ops-per-second', '10000', '--write-per-second', '100MiB']
  t.like(await exported('create', 'projects', '--path', '/projects', ...rates), {
    ...{ name: 'projects', path: '/projects' },
    ...{ callsPerSecond: 10_000, writtenBytesPerSecond: 100 << 20 },
  })
  const laptop = await cluster.mountOf('projects', 'laptop')
  t.deepEqual(readdirSync(laptop), ['plan'])
  t.is(readFileSync(path.join(laptop, 'plan'), 'utf8'), 'the plan')
  t.is(statSync(laptop).ino, statSync(path.join(all, 'projects')).ino)
  t.is(
    statSync(path.join(laptop, '..')).ino,
    statSync(path.dirname(laptop)).ino,
    'the way out of a mount is the kernel’s',
  )
  t.true(statfsSync(laptop).blocks > 0)
  t.is(
    codeOf(() => readdirSync(path.join(laptop, 'private'))),
    'ENOENT',
  )

  mkdirSync(path.join(laptop, 'deep', 'er'), { recursive: true })
  writeFileSync(path.join(laptop, 'deep', 'er', 'file'), 'from below', { flush: true })
  t.is(readFileSync(path.join(all, 'projects', 'deep', 'er', 'file'), 'utf8'), 'from below')
  t.is(statSync(path.join(laptop, 'deep', '..')).ino, statSync(laptop).ino)
  renameSync(path.join(all, 'projects', 'deep'), path.join(all, 'deep'))
  await until(t, 'ENOENT', () => codeOf(() => readdirSync(path.join(laptop, 'deep'))))
  renameSync(path.join(all, 'deep'), path.join(all, 'projects', 'deep'))
  await until(t, 'done', () => codeOf(() => readdirSync(path.join(laptop, 'deep', 'er'))))

  // Another process goes on with the same root.
  const replaced = await cairnFails(['mount', '--replace', laptop])
  t.is(replaced.code, 0, replaced.stderr)
  t.is(statSync(laptop).ino, statSync(path.join(all, 'projects')).ino)
  writeFileSync(path.join(all, 'projects', 'since'), 'since', { flush: true })
  t.is(
    readFileSync(path.join(laptop, 'since'), 'utf8'),
    'since',
    'what it knew of its root it forgets when told',
  )

  const write = (text: string) => codeOf(() => writeFileSync(path.join(laptop, text), text, { flush: true }))
  t.is(write('before'), 'done')
  const open = openSync(path.join(laptop, 'open'), 'w')
  writeSync(open, 'not stored yet')
  t.like(await exported('set', 'projects', '--read-only'), { readOnly: true, mounts: 1 })
  await until(t, 'EROFS', () => write('after'))
  t.regex(
    codeOf(() => fsyncSync(open)),
    /EROFS|EIO/,
    'what was written before, and names that were made since, are not stored, and it says so',
  )
  t.is(readFileSync(path.join(laptop, 'before'), 'utf8'), 'before')
  await exported('set', 'projects', '--read-write')
  await until(t, 'done', () => write('after'))
  await until(t, 'done', () => codeOf(() => fsyncSync(open)))
  closeSync(open)
  t.is(readFileSync(path.join(all, 'projects', 'open'), 'utf8'), 'not stored yet')
  await exported('set', 'projects', '--read-only')
  const late = await cluster.mountOf('projects', 'late')
  t.regex(readFileSync('/proc/mounts', 'utf8'), new RegExp(` ${late} fuse\\S* ro,`), 'its kernel knows')

  const listed = JSON.parse((await cluster.admin('mount', 'ls', '--json')).stdout) as { export: string }[]
  t.deepEqual(listed.map(({ export: name }) => name).sort(), ['', 'projects', 'projects'])
  t.like(await exported('remove', 'projects'), { mounts: 2 })
  await until(t, 'EKEYREVOKED', () => codeOf(() => readdirSync(path.join(laptop, 'deep'))))
  t.like(await cairnFails(['umount', laptop]), { code: 0, stderr: '' }, 'it waits for nothing')
  const again = await cluster.admin('export', 'show', 'projects')
  t.is(again.code, 2)
})

test('what an export has is stored for it alone, and is read at its rate, by who waits for it without an error', async t => {
  t.timeout(180_000)
  const { cluster, all, exported } = await exportsWorld(t)
  await exported('create', 'projects', '--path', '/projects')
  const laptop = await cluster.mountOf('projects', 'laptop')
  const text = Buffer.alloc(300_000, 'the same in both ')
  writeFileSync(path.join(all, 'private', 'same'), text, { flush: true })
  writeFileSync(path.join(laptop, 'same'), text, { flush: true })
  const blocks = cluster.at('node-1', 'blocks')
  const found = readdirSync(blocks, { recursive: true, encoding: 'utf8' })
    .filter(name => statSync(path.join(blocks, name)).size === text.length)
    .map(name => path.basename(name))
  const plain = createHash('sha256').update(text).digest('hex')
  t.is(found.length, 2)
  t.is(found.filter(name => name === plain).length, 1, "the other one's name tells nothing of its content")
  const checked = await cluster.admin('fsck', '--data')
  t.is(checked.code, 0, checked.stderr)

  const large = randomBytes(12 << 20)
  writeFileSync(path.join(all, 'projects', 'large'), large, { flush: true })
  await exported('set', 'projects', '--read-per-second', '1MiB')
  const late = await cluster.mountOf('projects', 'late')
  t.true((await readFile(path.join(late, 'large'))).equals(large))
  t.true(readFileSync(path.join(late, 'same')).equals(text))
  // It was slow, as it should be, but nobody gave the node up.
  const log = readFileSync(`${late}.log`, 'utf8')
  t.regex(log, /A program waited/)
  t.notRegex(log, /"level":"error"|"failure"|ETIMEDOUT|EIO/)
})

test('in a squashed export root of the mount is nobody', async t => {
  const { cluster, all, exported } = await exportsWorld(t)
  const projects = path.join(all, 'projects')
  chmodSync(projects, 0o777)
  writeFileSync(path.join(projects, 'private'), 'private', { mode: 0o600, flush: true })
  await exported('create', 'projects', '--path', '/projects', '--root-squash', '--no-setuid', '--no-devices')
  const laptop = await cluster.mountOf('projects', 'laptop')
  const at = (name: string): string => path.join(laptop, name)
  writeFileSync(at('made'), 'made', { flush: true })
  t.is(statSync(at('made')).uid, 65_534)
  t.is(statSync(path.join(projects, 'made')).uid, 65_534)
  t.is(
    codeOf(() => readFileSync(at('private'))),
    'EACCES',
  )
  t.is(
    codeOf(() => writeFileSync(at('plan'), 'x')),
    'EACCES',
  )
  t.is(
    codeOf(() => chmodSync(at('plan'), 0o777)),
    'EPERM',
  )
  t.is(
    codeOf(() => chmodSync(at('made'), 0o640)),
    'done',
  )
  t.is(
    codeOf(() => chmodSync(at('made'), 0o4755)),
    'EPERM',
  )
  t.is(readFileSync(at('plan'), 'utf8'), 'the plan', 'what all may read it may')
  t.not(spawnSync('mknod', [at('device'), 'c', '1', '3']).status, 0)
  t.regex(readFileSync('/proc/mounts', 'utf8'), new RegExp(` ${laptop} fuse\\S* \\S*nosuid,nodev`))
  rmSync(at('made'))
  t.is(
    codeOf(() => statSync(path.join(projects, 'made'))),
    'ENOENT',
  )

  // Everybody is one user: whom his kernel, and the master, take for the owner.
  await exported('set', 'projects', '--all-squash', '--anon-uid', '1000', '--anon-gid', '1000')
  await until(t, '1000', () => {
    writeFileSync(at('ours'), 'ours', { flush: true })
    const { uid } = statSync(at('ours'))
    rmSync(at('ours'))
    return String(uid)
  })
  writeFileSync(at('ours'), 'ours', { flush: true })
  const asUser = (uid: number) =>
    spawnSync(process.execPath, ['-e', `fs.appendFileSync(${JSON.stringify(at('ours'))}, ' too')`], {
      ...{ uid, gid: uid, encoding: 'utf8' },
    })
  const user = asUser(1000)
  t.is(user.status, 0, user.stderr)
  t.is(readFileSync(path.join(projects, 'ours'), 'utf8'), 'ours too')
  t.regex(asUser(1001).stderr, /EACCES/)
})

test('a machine that may mount several exports says which, in fstab too', async t => {
  const { cluster, exported } = await exportsWorld(t)
  await exported('create', 'projects', '--path', '/projects')
  const laptop = await cluster.mountOf('projects', 'laptop')
  const nobody = await cluster.admin('export', 'create', 'private', '--path', '/private', '--allow', 'nobody')
  t.regex(nobody.stderr, /there is no identity nobody of the role mount/)
  const listed = JSON.parse((await cluster.admin('identity', 'ls', '--json')).stdout) as {
    id: string
    export?: string
  }[]
  const { id = '' } = listed.find(each => each.export === 'projects') ?? {}
  t.like(await exported('create', 'private', '--path', '/private', '--allow', id), { identities: [id] })
  t.deepEqual(readdirSync(laptop), ['plan'], 'what it shows it may show')

  const second = cluster.at('second')
  mkdirSync(second)
  cluster.mounts.push(second)
  const program = cluster.at('cairn')
  writeFileSync(program, `#!/bin/sh\nexec ${process.execPath} ${cairnProgram} "$@"\n`, { mode: 0o755 })
  const settings = cluster.at('mount.toml')
  writeFileSync(settings, `master = "${cluster.master}"\nidentity = "${laptop}-identity"\n`)
  const helper = fileURLToPath(new URL('../../../ops/bin/mount.cairn', import.meta.url))
  const mount = (options: string) =>
    promisify(execFile)(
      'sh',
      [helper, cluster.master, second, '-o', `config=${settings},log=${second}.log${options}`],
      { env: { ...process.env, CAIRN: program } },
    )
  const unsaid = await t.throwsAsync(mount(''))
  t.regex(unsaid.message, /several exports: name one with --export, of private, projects/)
  await mount(',export=private')
  t.deepEqual(readdirSync(second), ['secret'])
  t.is((await cairnFails(['umount', second])).code, 0)
  await mount(',export=projects')
  t.deepEqual(readdirSync(second), ['plan'])
})
