import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { environmentOf, nodeOptionsOf } from '#src/cli/local/daemon-node.ts'
import { countingEnvironment, type Metrics, metricsAddress, scrape } from '../profile/scrape.ts'
import { cairnProgram } from './cairn.ts'
import { command } from './command.ts'
import { detach } from './mounts.ts'

export interface BareOptions {
  /** Of its folder. */
  readonly name?: string
  /** With an authority of its own, and an identity for each daemon. */
  readonly tls?: boolean
  /** More of the master's, and of the mount's. */
  readonly masterFlags?: readonly string[]
  readonly mountFlags?: readonly string[]
}

/** A cluster of which single daemons can be ended, for good or to be started again: nobody else starts them. */
export class BareCluster {
  readonly mount: string
  readonly dir: string
  readonly #options: BareOptions
  readonly #children = new Map<string, ChildProcess>()
  readonly #args = new Map<string, readonly string[]>()
  #master = ''
  #mounted = false

  constructor(scratch: string, options: BareOptions = {}) {
    this.dir = path.join(scratch, options.name ?? 'cairn')
    this.mount = path.join(this.dir, 'mnt')
    this.#options = options
  }

  async start(nodes: number): Promise<void> {
    mkdirSync(this.mount, { recursive: true })
    const { tls = false, masterFlags = [] } = this.#options
    if (tls)
      await this.#cairn(
        ...['cluster', 'init', '--master-identity', this.#identity('master')],
        ...['--admin-identity', this.#identity('admin')],
      )
    const listen = ['--listen', '127.0.0.1:0']
    const data = (name: string) => ['--data', this.folder(name), ...listen, ...this.#identityFlags(name)]
    this.#master = await this.#daemon('master', [...data('master'), ...masterFlags])
    for (let number = 1; number <= nodes; number++) {
      const name = `chunkserver-${String(number)}`
      await this.#join(name, 'chunkserver')
      await this.#daemon(name, [...data(name), '--master', this.#master])
    }
    await this.#join('mount', 'mount')
    await this.mountAgain()
  }

  /** Mounts, anew if it is mounted. */
  async mountAgain(): Promise<void> {
    await this.#unmount()
    this.#mounted = true
    const { mountFlags = [] } = this.#options
    const log = ['--log', this.#log('mount')]
    await this.#cairn(
      'mount',
      this.#master,
      this.mount,
      ...log,
      ...this.#identityFlags('mount'),
      ...mountFlags,
    )
  }

  folder(name: string): string {
    return path.join(this.dir, name)
  }

  get names(): string[] {
    return [...this.#children.keys()]
  }

  pidOf(name: string): number {
    return this.#children.get(name)?.pid ?? 0
  }

  get master(): string {
    return this.#master
  }

  /** Starts a daemon that was ended, where it was. Resolves when it serves. */
  async startAgain(name: string): Promise<void> {
    const args = this.#args.get(name)
    if (args === undefined) throw new Error(`${name} was never started`)
    const at = args.indexOf('--listen') + 1
    await this.#daemon(
      name,
      name === 'master' ? [...args.slice(0, at), this.#master, ...args.slice(at + 1)] : args,
    )
  }

  /** Ends a daemon as a machine that burns does. */
  async kill(name: string): Promise<void> {
    const child = this.#children.get(name)
    if (child === undefined) throw new Error(`${name} does not run`)
    this.#children.delete(name)
    const ended = new Promise(resolve => child.once('exit', resolve))
    child.kill('SIGKILL')
    await ended
  }

  async metrics(): Promise<Metrics> {
    const address = metricsAddress(this.#log('master'))
    if (address === undefined) throw new Error('the master does not say where its metrics are')
    return scrape(address)
  }

  async stop(): Promise<void> {
    try {
      await this.#unmount()
    } finally {
      detach(this.mount)
      for (const name of this.names.reverse()) await this.kill(name)
    }
  }

  async #unmount(): Promise<void> {
    if (!this.#mounted) return
    this.#mounted = false
    await this.#cairn('umount', this.mount)
  }

  async #join(name: string, role: string): Promise<void> {
    if (this.#options.tls !== true) return
    const admin = ['--master', this.#master, '--identity', this.#identity('admin')]
    const said = await this.#cairn('cluster', 'token', 'create', '--role', role, ...admin, '--json')
    const { token } = JSON.parse(said) as { token: string }
    await this.#cairn(
      ...['node', 'join', this.#master, '--token', token],
      ...['--name', name, '--identity', this.#identity(name)],
    )
  }

  #identity(name: string): string {
    return path.join(this.dir, 'identity', name)
  }

  #identityFlags(name: string): string[] {
    if (this.#options.tls === true) return ['--identity', this.#identity(name)]
    return name === 'mount' ? ['--identity', 'off'] : ['--identity', 'off', '--insecure']
  }

  #cairn(...args: string[]): Promise<string> {
    return command(process.execPath, [cairnProgram, ...args])
  }

  #log(name: string): string {
    return path.join(this.dir, `${name}.log`)
  }

  /** Resolves with the address where it serves. */
  async #daemon(name: string, args: readonly string[]): Promise<string> {
    this.#args.set(name, args)
    // What an earlier one said is not said by this one.
    const log = openSync(this.#log(name), 'w')
    const kind = name === 'master' ? 'master' : 'chunkserver'
    const child = spawn(process.execPath, [...nodeOptionsOf(kind), cairnProgram, kind, ...args], {
      env: { ...process.env, ...environmentOf[kind], ...countingEnvironment() },
      stdio: ['ignore', log, log],
    })
    closeSync(log)
    this.#children.set(name, child)
    for (let tries = 0; tries < 600; tries++) {
      const served = readFileSync(this.#log(name), 'utf8')
        .split('\n')
        .find(line => line.includes('"Serving"'))
      if (served !== undefined) return (JSON.parse(served) as { address: string }).address
      if (child.exitCode !== null) break
      await sleep(50)
    }
    throw new Error(`${name} does not serve: ${readFileSync(this.#log(name), 'utf8')}`)
  }
}
