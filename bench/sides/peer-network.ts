/**
 * A network namespace for the peers, since they refuse loopback addresses: its own loopback device has ordinary
 * addresses besides. Whatever runs in it is known by it, so that all of it can be ended.
 */
import { spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { command } from './command.ts'

const prefix = 'cairn-bench-'
const patienceMs = 5000

export class PeerNetwork {
  readonly name = `${prefix}${String(process.pid)}`
  /** One for each daemon that needs one of its own. */
  readonly addresses = [1, 2, 3, 4].map(n => `10.77.0.${String(n)}`)

  async start(): Promise<void> {
    await command('ip', ['netns', 'add', this.name])
    await this.run('ip', 'link', 'set', 'lo', 'up')
    for (const address of this.addresses) await this.run('ip', 'address', 'add', `${address}/32`, 'dev', 'lo')
  }

  /** Runs a program in it to its end. Mounts that it makes are seen everywhere. */
  run(program: string, ...args: string[]): Promise<string> {
    // Not `ip netns exec`, which has mounts of its own.
    return command('nsenter', [`--net=/run/netns/${this.name}`, '--', program, ...args])
  }

  async stop(): Promise<void> {
    await endAll(this.name)
  }
}

async function endAll(name: string): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    for (const pid of pidsIn(name)) signalTo(pid, signal)
    for (let waited = 0; waited < patienceMs && pidsIn(name).length > 0; waited += 50) await sleep(50)
  }
  spawnSync('ip', ['netns', 'del', name])
}

function pidsIn(name: string): number[] {
  const { stdout } = spawnSync('ip', ['netns', 'pids', name], { encoding: 'utf8' })
  return stdout
    .split('\n')
    .filter(line => line !== '')
    .map(Number)
}

function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has just ended.
  }
}

/** Ends the network of a run whose process is gone. */
export const endNetworkOf = (pid: number): Promise<void> => endAll(`${prefix}${String(pid)}`)
