/** Parts of the tree for certain mounts, by real mounts and by a client that lies, over TLS. */
import test, { type ExecutionContext } from 'ava'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
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
import { silentLog } from '#src/core/env.ts'
import { errno } from '#src/core/errors.ts'
import type { Op } from '#src/wire/commands.ts'
import type { Hello, Reply, SessionDownItem } from '#src/wire/gen/cairn/v1/session.ts'
import { GrpcNetwork } from '#src/wire/grpc/grpc-network.ts'
import { sessionAttach } from '#src/wire/services.ts'
import { IdentityFolder } from '#src/wire/tls/identity-folder.ts'
import { Tls } from '#src/wire/tls/tls.ts'
import { acquire, create, getAttr, lookup, plan } from '../master/engine-ops.js'
import { callsNaming, readDir } from '../master/exports-fixture.js'
import { sha } from '../master/engine-fixture.js'
import { cairnFails } from '../support/cluster.js'
import { tlsCluster } from '../support/tls-cluster.js'

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

async function world(t: ExecutionContext) {
  const { cluster, masterLog } = await tlsCluster(t)
  await cluster.chunkserver(1)
  const all = await cluster.mount('all')
  mkdirSync(path.join(all, 'projects'))
  mkdirSync(path.join(all, 'private'))
  writeFileSync(path.join(all, 'private', 'secret'), 'the secret', { flush: true })
  writeFileSync(path.join(all, 'projects', 'plan'), 'the plan', { flush: true })
  const exported = async (...args: readonly string[]) => {
    const { code, stdout, stderr } = await cluster.admin('export', ...args, '--json')
    t.is(code, 0, stderr)
    return JSON.parse(stdout) as Readonly<Record<string, unknown>>
  }
  return { cluster, all, exported, masterLog }
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
  const { cluster, all, exported } = await world(t)
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

  const write = (text: string) => codeOf(() => writeFileSync(path.join(laptop, text), text, { flush: true }))
  t.is(write('before'), 'done')
  t.like(await exported('set', 'projects', '--read-only'), { readOnly: true, mounts: 1 })
  await until(t, 'EROFS', () => write('after'))
  t.is(readFileSync(path.join(laptop, 'before'), 'utf8'), 'before')
  await exported('set', 'projects', '--read-write')
  await until(t, 'done', () => write('after'))
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

test('in a squashed export root of the mount is nobody', async t => {
  const { cluster, all, exported } = await world(t)
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
})

/** A client that speaks the wire with the certificate of a mount, and says what it likes. */
class Attacker {
  readonly #link
  readonly #waiting = new Map<bigint, (reply: Reply) => void>()
  #last = 0n
  readonly first: Promise<NonNullable<SessionDownItem['item']>>

  constructor(t: ExecutionContext, master: string, identity: string, hello: Partial<Hello> = {}) {
    const network = new GrpcNetwork({ log: silentLog, tls: new Tls(new IdentityFolder(identity).read()) })
    t.teardown(() => network.close())
    this.#link = network.dial(master, sessionAttach)
    this.#link.onClose(() => undefined)
    this.first = new Promise(resolve =>
      this.#link.onFrame(({ items }) => {
        for (const { item } of items) {
          if (item?.$case === 'reply') this.#waiting.get(item.value.id)?.(item.value)
          else if (item?.$case === 'welcome' || item?.$case === 'refused') resolve(item)
        }
      }),
    )
    const none = new Uint8Array(0)
    const value = {
      ...{ versionMin: 1, versionMax: 1, session: 0n, epoch: 0n, secret: none, cluster: none },
      ...{ host: 'h', mountpoint: '/mnt', pid: 1, program: 'evil', zone: '', readOnly: false, clock: 0n },
      ...{ export: '', ...hello },
    }
    this.#link.send({ items: [{ item: { $case: 'hello', value } }], acked: 0n })
  }

  async root(): Promise<bigint> {
    const first = await this.first
    return first.$case === 'welcome' ? first.value.root : 0n
  }

  async fails(op: Op): Promise<number | string> {
    const id = ++this.#last
    const reply = new Promise<Reply>(resolve => this.#waiting.set(id, resolve))
    this.#link.send({ items: [{ item: { $case: 'call', value: { id, op } } }], acked: 0n })
    const { result } = await reply
    return result?.$case === 'error' ? result.value.errno : (result?.$case ?? 'nothing')
  }
}

test('a client that lies gets nothing from outside its export, and no say in who it is', async t => {
  const { cluster, all, exported, masterLog } = await world(t)
  const [root, privateIno, secret, projects] = ['.', 'private', 'private/secret', 'projects'].map(name =>
    BigInt(statSync(path.join(all, name)).ino),
  ) as [bigint, bigint, bigint, bigint]
  await exported('create', 'projects', '--path', '/projects', '--root-squash', '--no-devices')
  await exported('create', 'private', '--path', '/private')
  await cluster.mountOf('projects', 'laptop')
  const as = (hello: Partial<Hello> = {}): Attacker =>
    new Attacker(t, cluster.master, cluster.at('laptop-identity'), hello)
  const attacker = as()
  t.is(await attacker.root(), projects, 'whatever it does not say')
  for (const name of ['private', 'none'])
    t.like(await as({ export: name }).first, { $case: 'refused', value: { sessionDead: false } })

  for (const hidden of [root, privateIno, secret])
    for (const op of callsNaming(hidden, projects)) {
      const got = await attacker.fails(op)
      const harmless =
        op.$case === 'plan' ||
        op.$case === 'getExtentsOf' ||
        op.$case === 'reclaim' ||
        op.$case === 'settle' ||
        op.$case === 'closeOrphan'
      if (!harmless && op.$case !== 'setLock')
        t.is(typeof got, 'number', `${op.$case} of ${String(hidden)}: ${got}`)
    }
  t.is(await attacker.fails(readDir(projects)), 'readDir')
  t.is(await attacker.fails(lookup('..', projects)), 'entry', 'a name that no folder has')
  t.is(await attacker.fails(plan(projects, sha('the secret'), 10)), 'plan')
  t.is(await attacker.fails({ $case: 'locate', value: { ids: [sha('the secret')] } }), 'locate')
  t.is(await attacker.fails(create('root', { parent: projects, uid: 0 })), errno.EACCES, 'a folder of root')
  t.is(await attacker.fails(create('dev', { parent: projects, mode: 0o020666, rdev: 5 })), errno.EPERM)
  await exported('set', 'projects', '--read-only')
  const after = as()
  t.is(await after.root(), projects)
  t.is(await after.fails(acquire(projects, 'write')), errno.EROFS)
  t.is(await after.fails(getAttr(projects)), 'attr')
  t.is(readFileSync(path.join(all, 'private', 'secret'), 'utf8'), 'the secret')
  t.regex(masterLog(), /"audit":true[^\n]*"export":"projects"[^\n]*"Denied"/)
  t.regex(masterLog(), /"audit":true,"method":"\/cairn.v1.Admin\/CreateExport"/)
  t.is((await cluster.admin('fsck')).code, 0)
})
