import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
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
  master = ''
  readonly #all: Daemon[] = []

  static async start(nodes: number, ...masterFlags: string[]): Promise<Daemons> {
    const cluster = new Daemons()
    chmodSync(cluster.dir, 0o755)
    mkdirSync(cluster.mount)
    const data = ['--data', path.join(cluster.dir, 'master'), '--listen', '127.0.0.1:0']
    const { address } = await cluster.run('master', ...data, ...masterFlags)
    cluster.master = address
    for (let number = 1; number <= nodes; number++) await cluster.node(number)
    await cairn(['mount', address, cluster.mount, '--log', path.join(cluster.dir, 'mount.log')])
    return cluster
  }

  /** Starts chunkserver `number`, or starts it again. */
  async node(number: number): Promise<Daemon> {
    const folder = path.join(this.dir, `node-${String(number)}`)
    const args = ['--data', folder, '--master', this.master, '--listen', '127.0.0.1:0']
    const { daemon } = await this.run('chunkserver', ...args)
    return daemon
  }

  async run(...args: string[]): Promise<{ readonly daemon: Daemon; readonly address: string }> {
    const env = { ...process.env, CAIRN_LOG_FORMAT: 'json' }
    const child = spawn(process.execPath, [cairnProgram, ...args], {
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

  async json<T>(...args: string[]): Promise<T> {
    const { stdout, stderr } = await cairnFails([...args, '--master', this.master, '--json'])
    if (stdout === '') throw new Error(stderr)
    return JSON.parse(stdout) as T
  }

  async dispose(): Promise<void> {
    await cairnFails(['umount', this.mount])
    for (const { child } of this.#all) child.kill('SIGKILL')
    await Promise.all(this.#all.map(({ ended }) => ended))
    rmSync(this.dir, { recursive: true, force: true })
  }
}
