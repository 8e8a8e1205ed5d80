import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { environmentOf, nodeOptionsOf } from '#src/cli/local/daemon-node.ts'
import { cairn, cairnFails, cairnProgram } from './cluster.js'

export interface Daemon {
  readonly child: ChildProcess
  readonly folder: string
  readonly log: () => string
  /** Exit code, or the signal's name. */
  readonly ended: Promise<number | string>
}

/** A cluster whose daemons are run one by one, so that each can be killed, stopped and started again. */
export class Daemons {
  readonly dir = mkdtempSync(path.join(os.tmpdir(), 'cairn-daemons-'))
  readonly mount = path.join(this.dir, 'mnt')
  /** Where the daemons keep their data. */
  readonly #disk: string
  master = ''
  readonly #all: Daemon[] = []

  private constructor(disk?: string) {
    this.#disk = disk ?? this.dir
  }

  static async start(nodes: number, ...masterFlags: string[]): Promise<Daemons> {
    return Daemons.#begin(new Daemons(), nodes, masterFlags)
  }

  /** As `start`, with the daemons' data in folders of another disk; mounts read no blocks past their nodes. */
  static async startOn(disk: string, nodes: number, ...masterFlags: string[]): Promise<Daemons> {
    return Daemons.#begin(new Daemons(disk), nodes, masterFlags)
  }

  static async #begin(cluster: Daemons, nodes: number, masterFlags: readonly string[]): Promise<Daemons> {
    chmodSync(cluster.dir, 0o755)
    mkdirSync(cluster.mount)
    await cluster.startMaster('127.0.0.1:0', ...masterFlags)
    for (let number = 1; number <= nodes; number++) await cluster.node(number)
    await cairn(['mount', cluster.master, cluster.mount, '--log', path.join(cluster.dir, 'mount.log')])
    return cluster
  }

  /** Starts the master, or starts it again. */
  async startMaster(listen = this.master, ...flags: string[]): Promise<Daemon> {
    const data = ['--data', path.join(this.#disk, 'master'), '--listen', listen]
    const { daemon, address } = await this.run('master', ...data, ...flags)
    this.master = address
    return daemon
  }

  /** Starts chunkserver `number`, or starts it again. */
  async node(number: number): Promise<Daemon> {
    const folder = path.join(this.#disk, `node-${String(number)}`)
    const args = ['--data', folder, '--master', this.master, '--listen', '127.0.0.1:0']
    if (this.#disk !== this.dir) args.push('--short-circuit', 'off')
    const { daemon } = await this.run('chunkserver', ...args)
    return daemon
  }

  async run(...args: string[]): Promise<{ readonly daemon: Daemon; readonly address: string }> {
    // As `cairn up` starts them.
    const kind = args[0] === 'master' ? 'master' : 'chunkserver'
    const env = { ...process.env, ...environmentOf[kind], CAIRN_LOG_FORMAT: 'json' }
    const child = spawn(process.execPath, [...nodeOptionsOf(kind), cairnProgram, ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env,
    })
    let log = ''
    child.stderr.on('data', (chunk: Buffer) => {
      log += chunk.toString()
    })
    const ended = new Promise<number | string>(resolve => {
      child.on('exit', (code, signal) => resolve(code ?? signal ?? ''))
    })
    const folder = args[args.indexOf('--data') + 1] ?? ''
    const daemon: Daemon = { child, folder, log: () => log, ended }
    this.#all.push(daemon)
    for (let tries = 0; tries < 1200 && child.exitCode === null; tries++) {
      const found = /"address":"([^"]+)"[^\n]*"Serving"/.exec(log)
      if (found !== null) return { daemon, address: found[1] ?? '' }
      await sleep(50)
    }
    throw new Error(`${args.join(' ')}: ${log}`)
  }

  /** Of a folder name, the process that was started last. */
  of(folder: string): Daemon {
    const found = this.#all.filter(daemon => path.basename(daemon.folder) === folder).at(-1)
    if (found === undefined) throw new Error(`no daemon in ${folder}`)
    return found
  }

  /** Ends all daemons at once, without a word. */
  async killAll(): Promise<void> {
    for (const { child } of this.#all) child.kill('SIGKILL')
    await Promise.all(this.#all.map(({ ended }) => ended))
  }

  async json<T>(...args: string[]): Promise<T> {
    const { stdout, stderr } = await cairnFails([...args, '--master', this.master, '--json'])
    if (stdout === '') throw new Error(stderr)
    return JSON.parse(stdout) as T
  }

  async dispose(): Promise<void> {
    const { code } = await cairnFails(['umount', this.mount])
    // A program of a test that failed may still be at work there.
    if (code !== 0) await cairnFails(['umount', '--lazy', this.mount])
    for (const { child } of this.#all) child.kill('SIGKILL')
    await Promise.all(this.#all.map(({ ended }) => ended))
    rmSync(this.dir, { recursive: true, force: true })
  }
}
