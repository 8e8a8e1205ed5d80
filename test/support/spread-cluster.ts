import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, openSync, closeSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { cairnProgram, endMount } from './cluster.js'
import { Machines } from './machines.js'

const run = promisify(execFile)

export interface SpreadOptions {
  /** Names of the mounts, each on a machine of its own. */
  readonly mounts: readonly string[]
  /** Seconds. */
  readonly leaseTime?: number
  /** How long system calls wait for the master, seconds. */
  readonly wait?: number
  /** Each chunkserver on a machine of its own, `node-N`, not all on `nodes`. */
  readonly nodesApart?: boolean
  readonly nodes?: number
  /** More flags of the master's. */
  readonly masterFlags?: readonly string[]
}

export interface SpreadMount {
  readonly path: string
  readonly pid: number
  readonly log: string
}

/**
 * A master, chunkservers and mounts whose networks can be cut: machine `master`, machine `nodes`, and a machine
 * for each mount. All see the same files, so a test reads and writes on every mount. Dispose of it in teardown.
 */
export class SpreadCluster {
  readonly dir: string
  readonly network: Machines
  readonly #options: SpreadOptions
  readonly #daemons = new Map<string, ChildProcess>()
  readonly #mounts = new Map<string, SpreadMount>()

  private constructor(dir: string, network: Machines, options: SpreadOptions) {
    this.dir = dir
    this.network = network
    this.#options = options
  }

  static async start(options: SpreadOptions): Promise<SpreadCluster> {
    const dir = mkdtempSync(path.join(os.tmpdir(), 'cairn-spread-'))
    chmodSync(dir, 0o755)
    const nodes = Array.from({ length: options.nodes ?? 3 }, (_, index) => index)
    const machines = options.nodesApart === true ? nodes.map(nameOf) : ['nodes']
    const network = await Machines.make('master', ...machines, ...options.mounts)
    const cluster = new SpreadCluster(dir, network, options)
    try {
      await cluster.startMaster()
      await Promise.all(nodes.map(async index => cluster.startNode(index)))
      for (const name of options.mounts) await cluster.startMount(name)
    } catch (error) {
      await cluster.dispose()
      throw error
    }
    return cluster
  }

  get master(): string {
    return `${this.network.get('master').address}:9420`
  }

  mount(name: string): SpreadMount {
    const mount = this.#mounts.get(name)
    if (mount === undefined) throw new Error(`there is no mount ${name}`)
    return mount
  }

  /** A path on a mount. */
  on(mount: string, ...names: readonly string[]): string {
    return path.join(this.mount(mount).path, ...names)
  }

  logOf(name: string): string {
    return readFileSync(path.join(this.dir, `${name}.log`), 'utf8')
  }

  async startMaster(): Promise<void> {
    const { leaseTime, masterFlags = [] } = this.#options
    await this.#startDaemon('master', 'master', [
      ...['master', '--data', path.join(this.dir, 'master'), '--listen', this.master, '--insecure'],
      ...(leaseTime === undefined ? [] : ['--lease-time', String(leaseTime)]),
      ...masterFlags,
    ])
  }

  async startNode(index: number, ...flags: readonly string[]): Promise<void> {
    const machine = this.#options.nodesApart === true ? nameOf(index) : 'nodes'
    const args = ['--data', this.folderOf(index), '--master', this.master, '--listen', this.addressOf(index)]
    await this.#startDaemon(nameOf(index), machine, ['chunkserver', ...args, '--insecure', ...flags])
  }

  /** Where a chunkserver keeps its blocks. */
  folderOf(index: number): string {
    return path.join(this.dir, nameOf(index))
  }

  /** Where a chunkserver listens. */
  addressOf(index: number): string {
    const machine = this.#options.nodesApart === true ? nameOf(index) : 'nodes'
    return `${this.network.get(machine).address}:${String(9421 + index)}`
  }

  /** The process of `master` or `node-N`. */
  pidOf(name: string): number {
    const pid = this.#daemons.get(name)?.pid
    if (pid === undefined) throw new Error(`${name} does not run`)
    return pid
  }

  /** Ends `master` or `node-N`; resolves when it has ended. */
  async stopDaemon(name: string, signal: NodeJS.Signals): Promise<void> {
    const child = this.#daemons.get(name)
    if (child === undefined) return
    this.#daemons.delete(name)
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise(resolve => child.once('exit', resolve))
    child.kill(signal)
    await ended
  }

  async startMount(name: string): Promise<SpreadMount> {
    const target = path.join(this.dir, name)
    mkdirSync(target, { recursive: true })
    const log = path.join(this.dir, `${name}.log`)
    const args = ['mount', this.master, target, '--log', log, '--json']
    if (this.#options.wait !== undefined) args.push('--wait', String(this.#options.wait))
    const { pid } = JSON.parse(await this.cairnOn(name, ...args)) as { pid: number }
    const mount = { path: target, pid, log }
    this.#mounts.set(name, mount)
    return mount
  }

  /** Runs the CLI on a machine. */
  async cairnOn(machine: string, ...args: readonly string[]): Promise<string> {
    const [program = '', ...rest] = [
      ...this.network.get(machine).enter,
      process.execPath,
      cairnProgram,
      ...args,
    ]
    return (await run(program, rest)).stdout
  }

  /** Problems that fsck finds; the mounts are to be idle. */
  async fsck(): Promise<readonly string[]> {
    const found = await this.cairnOn('master', 'fsck', '--data', '--json', '--master', this.master)
    return (JSON.parse(found) as { problems: string[] }).problems
  }

  async dispose(): Promise<void> {
    for (const { path: target, pid } of this.#mounts.values()) {
      resume(pid)
      await endMount(target, pid)
    }
    for (const name of [...this.#daemons.keys()]) await this.stopDaemon(name, 'SIGKILL')
    await this.network.dispose()
    rmSync(this.dir, { recursive: true, force: true })
  }

  async #startDaemon(name: string, machine: string, args: readonly string[]): Promise<void> {
    const logFile = path.join(this.dir, `${name}.log`)
    const log = openSync(logFile, 'a')
    const before = readFileSync(logFile, 'utf8').length
    const [program = '', ...rest] = [
      ...this.network.get(machine).enter,
      process.execPath,
      cairnProgram,
      ...args,
    ]
    const child = spawn(program, rest, { stdio: ['ignore', log, log] })
    closeSync(log)
    this.#daemons.set(name, child)
    for (let tries = 0; tries < 1200; tries++) {
      const said = readFileSync(logFile, 'utf8').slice(before)
      if (said.includes('"Serving"')) return
      if (child.exitCode !== null) throw new Error(`${name} ended: ${said}`)
      await sleep(50)
    }
    throw new Error(`${name} does not serve: ${readFileSync(logFile, 'utf8')}`)
  }
}

const nameOf = (index: number): string => `node-${String(index)}`

/** So that it can end; one that has ended needs nothing. */
function resume(pid: number): void {
  try {
    process.kill(pid, 'SIGCONT')
  } catch {
    // It has ended.
  }
}
