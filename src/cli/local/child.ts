import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { UsageError } from '../../core/errors.ts'
import { type Daemon, environmentOf, nodeOptionsOf } from './daemon-node.ts'
import { awaitReadiness, readyEnvironment } from './ready.ts'

/**
 * One daemon of a local cluster, in a process group of its own so that Ctrl-C on the terminal reaches
 * only the supervisor. Its standard input is a lifeline: when the supervisor dies, it stops by itself. What
 * /etc/cairn says is for the daemons of this machine's own cluster, not for it.
 */
export class Child {
  readonly name: string
  readonly address: string
  readonly #process: ChildProcess
  readonly ended: Promise<string>

  private constructor(name: string, child: ChildProcess, address: string, ended: Promise<string>) {
    this.name = name
    this.#process = child
    this.address = address
    this.ended = ended
  }

  /** Starts `cairn DAEMON ARGS` and waits until it is ready. Rejects with the reason that it gave. */
  static async start(
    name: string,
    program: string,
    daemon: Daemon,
    args: readonly string[],
    logFile: string,
  ): Promise<Child> {
    const log = openSync(logFile, 'a')
    const node = [...process.execArgv, ...nodeOptionsOf(daemon)]
    const child = spawn(
      process.execPath,
      [...node, program, daemon, ...args, '--no-config', '--identity', 'off', '--lifeline'],
      {
        detached: true,
        stdio: ['pipe', log, log, 'pipe'],
        env: { ...environmentOf[daemon], ...process.env, ...readyEnvironment },
      },
    )
    closeSync(log)
    child.stdin?.on('error', () => undefined)
    const ended = new Promise<string>(resolve => {
      child.on('exit', (code, signal) => {
        resolve(signal === null ? `exit code ${String(code)}` : `signal ${signal}`)
      })
      child.on('error', error => {
        resolve(error.message)
      })
    })
    const readiness = await awaitReadiness(child.stdio[3] as Readable, name)
    if (readiness.ready) return new Child(name, child, readiness.address ?? '', ended)
    const how = await ended
    // It said itself what an operator must mend.
    if (how === 'exit code 2') throw new UsageError(`${name}: ${readiness.error}`)
    throw new UsageError(`${readiness.error} (${how}; ${lastLine(logFile)})`)
  }

  get pid(): number {
    return this.#process.pid ?? 0
  }

  /** Asks it to stop and waits; after `patienceMs` it is killed, which its data survives. */
  async stop(patienceMs: number): Promise<'stopped' | 'killed' | 'not stored'> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return 'stopped'
    this.#process.kill('SIGTERM')
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), patienceMs)
    const how = await this.ended
    clearTimeout(timer)
    if (how === 'signal SIGKILL') return 'killed'
    return how === 'exit code 1' ? 'not stored' : 'stopped'
  }
}

function lastLine(logFile: string): string {
  const lines = readFileSync(logFile, 'utf8').trimEnd().split('\n')
  return `see ${logFile}: ${lines.at(-1) ?? ''}`
}
