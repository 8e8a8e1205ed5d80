import type { ExecutionContext } from 'ava'
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { cairn, cairnFails, cairnProgram } from './cluster.js'

export interface Running {
  readonly address: string
  readonly log: () => string
  readonly kill: () => Promise<void>
}

/** A cluster with TLS, set up as an operator does it; all on loopback. Dispose of it in teardown. */
export class TlsCluster {
  readonly dir = mkdtempSync(path.join(os.tmpdir(), 'cairn-tls-'))
  readonly #daemons: { readonly child: ChildProcess; log: string }[] = []
  readonly mounts: string[] = []
  master = ''

  at(...names: readonly string[]): string {
    return path.join(this.dir, ...names)
  }

  async start(...args: readonly string[]): Promise<Running> {
    const child = spawn(process.execPath, [cairnProgram, ...args, '--no-config'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, CAIRN_LOG_FORMAT: 'json' },
    })
    const daemon = { child, log: '' }
    child.stderr.on('data', (chunk: Buffer) => (daemon.log += chunk.toString()))
    this.#daemons.push(daemon)
    for (let tries = 0; tries < 2400 && child.exitCode === null; tries++) {
      const found = /"address":"([^"]+)"[^\n]*"Serving"/.exec(daemon.log)
      if (found !== null)
        return {
          address: found[1] ?? '',
          log: () => daemon.log,
          kill: async () => {
            child.kill('SIGKILL')
            await once(child, 'exit')
          },
        }
      await sleep(50)
    }
    throw new Error(daemon.log)
  }

  async startMaster(listen = '127.0.0.1:0', ...flags: readonly string[]): Promise<Running> {
    const running = await this.start(
      ...['master', '--data', this.at('master'), '--listen', listen, '--copies', '1'],
      ...['--identity', this.at('authority')],
      ...flags,
    )
    this.master = running.address
    return running
  }

  /** As the admin. */
  admin(...args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    return cairnFails([...args, '--master', this.master, '--identity', this.at('admin')])
  }

  async token(role: string, ...flags: readonly string[]): Promise<string> {
    const { stdout } = await this.admin('cluster', 'token', 'create', '--role', role, ...flags)
    return stdout.trim()
  }

  async chunkserver(number: number, ...flags: readonly string[]): Promise<Running> {
    const identity = this.at(`node-${String(number)}-identity`)
    await cairn([
      'node',
      'join',
      this.master,
      '--token',
      await this.token('chunkserver'),
      '--identity',
      identity,
      '--name',
      `node-${String(number)}`,
    ])
    const data = this.at(`node-${String(number)}`)
    return this.start(
      'chunkserver',
      '--data',
      data,
      '--master',
      this.master,
      '--listen',
      '127.0.0.1:0',
      '--identity',
      identity,
      ...flags,
    )
  }

  /** An identity of a role without a daemon, in a folder. */
  async join(role: string, folder: string): Promise<void> {
    const token = await this.token(role)
    await cairn([
      'node',
      'join',
      this.master,
      '--token',
      token,
      '--identity',
      this.at(folder),
      '--name',
      folder,
    ])
  }

  mount(name: string, ...flags: readonly string[]): Promise<string> {
    return this.mountOf('', name, ...flags)
  }

  /** With a token for the export; none: ''. */
  async mountOf(exported: string, name: string, ...flags: readonly string[]): Promise<string> {
    const target = this.at(name)
    mkdirSync(target)
    this.mounts.push(target)
    const token = await this.token('mount', ...(exported === '' ? [] : ['--export', exported]))
    await cairn([
      'mount',
      this.master,
      target,
      '--no-config',
      '--token',
      token,
      '--identity',
      `${target}-identity`,
      '--log',
      `${target}.log`,
      ...flags,
    ])
    return target
  }

  async dispose(): Promise<void> {
    for (const target of this.mounts) {
      const { code } = await cairnFails(['umount', target])
      if (code !== 0) await cairnFails(['umount', '--lazy', target])
    }
    for (const { child } of this.#daemons) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    rmSync(this.dir, { recursive: true, force: true })
  }
}

/** `flags`: of the master. */
export async function tlsCluster(
  t: ExecutionContext,
  ...flags: readonly string[]
): Promise<{ readonly cluster: TlsCluster; readonly master: Running; readonly masterLog: () => string }> {
  const cluster = new TlsCluster()
  t.teardown(() => cluster.dispose())
  chmodSync(cluster.dir, 0o755)
  await cairn([
    'cluster',
    'init',
    '--master-identity',
    cluster.at('authority'),
    '--admin-identity',
    cluster.at('admin'),
  ])
  const master = await cluster.startMaster('127.0.0.1:0', ...flags)
  return { cluster, master, masterLog: master.log }
}

/** With a mount of everything, a folder to be exported and a secret beside it. */
export async function exportsWorld(t: ExecutionContext) {
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
