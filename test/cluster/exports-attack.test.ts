/**
 * A client that lies, with the certificate of a mount of an export. In a file, and so a process, of its own: what waits for
 * a mount in another test would keep it from answering.
 */
import test, { type ExecutionContext } from 'ava'
import { readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { silentLog } from '#src/core/env.ts'
import { errno } from '#src/core/errors.ts'
import { wireVersion } from '#src/core/limits.ts'
import type { Op } from '#src/wire/commands.ts'
import type { Hello, Reply, SessionDownItem } from '#src/wire/gen/cairn/v1/session.ts'
import { GrpcNetwork } from '#src/wire/grpc/grpc-network.ts'
import { sessionAttach } from '#src/wire/services.ts'
import { IdentityFolder } from '#src/wire/tls/identity-folder.ts'
import { Tls } from '#src/wire/tls/tls.ts'
import { sha } from '../master/engine-fixture.js'
import { acquire, create, getAttr, lookup, plan } from '../master/engine-ops.js'
import { callsNaming, readDir } from '../master/exports-fixture.js'
import { exportsWorld } from '../support/tls-cluster.js'

/** A client that speaks the wire with the certificate of a mount, and says what it likes. */
class Attacker {
  readonly #link
  readonly #waiting = new Map<bigint, (reply: Reply | undefined) => void>()
  #last = 0n
  #over = false
  #why = ''
  /** Undefined: the connection ended before. */
  readonly first: Promise<SessionDownItem['item']>

  constructor(t: ExecutionContext, master: string, identity: string, hello: Partial<Hello> = {}) {
    const network = new GrpcNetwork({ log: silentLog, tls: new Tls(new IdentityFolder(identity).read()) })
    t.teardown(() => network.close())
    const link = network.dial(master, sessionAttach)
    this.#link = link
    this.first = new Promise(resolve => {
      link.onFrame(({ items }) => {
        for (const { item } of items) {
          if (item?.$case === 'reply') this.#waiting.get(item.value.id)?.(item.value)
          else if (item?.$case === 'welcome' || item?.$case === 'refused') resolve(item)
        }
      })
      link.onClose(error => {
        this.#why = error?.message ?? 'in order'
        this.#over = true
        resolve(undefined)
        for (const answer of this.#waiting.values()) answer(undefined)
      })
    })
    const none = new Uint8Array(0)
    const value = {
      ...{ versionMin: 1, versionMax: wireVersion, session: 0n, epoch: 0n, secret: none, cluster: none },
      ...{ host: 'h', mountpoint: '/mnt', pid: 1, program: 'evil', zone: '', readOnly: false, clock: 0n },
      ...{ export: '', ...hello },
    }
    link.send({ items: [{ item: { $case: 'hello', value } }], acked: 0n })
  }

  async root(): Promise<bigint> {
    const first = await this.first
    return first?.$case === 'welcome' ? first.value.root : 0n
  }

  async fails(op: Op): Promise<number | string> {
    if (this.#over) return `closed before ${op.$case}: ${this.#why}`
    const id = ++this.#last
    const answer = new Promise<Reply | undefined>(resolve => this.#waiting.set(id, resolve))
    this.#link.send({ items: [{ item: { $case: 'call', value: { id, op, promised: false } } }], acked: 0n })
    const reply = await answer
    if (reply === undefined) return `closed at ${op.$case}: ${this.#why}`
    const { result } = reply
    return result?.$case === 'error' ? result.value.errno : (result?.$case ?? 'nothing')
  }
}

test('a client that lies gets nothing from outside its export, and no say in who it is', async t => {
  t.timeout(120_000)
  const { cluster, all, exported, masterLog } = await exportsWorld(t)
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
        op.$case === 'readTree' ||
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
  const shared = ['--dedup', 'shared', '--read-per-second', '64MiB', '--short-circuit']
  const rules = { dedup: 'shared', readBytesPerSecond: 64 * 1024 * 1024, shortCircuit: true }
  t.like(await exported('set', 'projects', ...shared), rules)
  t.like(await as().first, { value: { noShortCircuit: true } }, 'what is read past the nodes is not counted')
  t.is(readFileSync(path.join(cluster.at('laptop'), 'plan'), 'utf8'), 'the plan')
  t.like(await exported('set', 'projects', '--no-short-circuit'), { ...rules, shortCircuit: false })
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
