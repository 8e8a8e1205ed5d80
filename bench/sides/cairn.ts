import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { command } from './command.ts'
import { detach } from './mounts.ts'
import type { Side } from './side.ts'

export const cairnProgram = path.resolve('dist/cli/cairn.js')

export interface CairnProcess {
  /** `master`, `chunkserver-1`, `mount`. */
  readonly role: string
  readonly pid: number
}

/** A master, three chunkservers and a mount, with default settings, on this machine. */
export class CairnSide implements Side {
  readonly key = 'cairn'
  readonly name = 'Cairn'
  readonly dir: string
  readonly cluster: string
  readonly #env: NodeJS.ProcessEnv
  #lastCommand: Promise<unknown> = Promise.resolve()
  #master = ''
  #started = false
  #mounted = false
  /** How long the cluster and each mount took to be usable. */
  readonly startsMs: number[] = []
  readonly mountsMs: number[] = []

  /** `env` goes to all its processes. */
  constructor(scratch: string, env: NodeJS.ProcessEnv = {}) {
    this.cluster = path.join(scratch, 'cairn')
    this.dir = path.join(scratch, 'cairn-mnt')
    this.#env = env
  }

  async start(): Promise<void> {
    mkdirSync(this.dir, { recursive: true })
    this.#started = true
    const began = performance.now()
    const said = await this.#cairn('up', '--dir', this.cluster, '--detach', '--json')
    this.startsMs.push(performance.now() - began)
    this.#master = (JSON.parse(said) as { master: string }).master
    await this.#mount()
  }

  async settle(): Promise<void> {
    await this.#cairn('sync', this.dir)
    await command('sync', ['-f', this.cluster])
  }

  async remount(): Promise<void> {
    await this.#umount()
    await this.#mount()
  }

  async stop(): Promise<void> {
    // Whoever interrupts the start of a cluster has half of one otherwise.
    await this.#lastCommand
    try {
      if (this.#mounted) await this.#umount()
    } finally {
      detach(this.dir)
      if (this.#started) await this.#cairn('down', '--dir', this.cluster)
      this.#started = false
    }
  }

  describe(): string {
    return 'default settings, three chunkservers, three copies, fsync waits for all of them'
  }

  get master(): string {
    return this.#master
  }

  get mountLog(): string {
    return path.join(this.cluster, 'logs', 'bench-mount.log')
  }

  /** The daemons that run now. */
  processes(): CairnProcess[] {
    const found: CairnProcess[] = []
    for (const name of readdirSync('/proc').filter(each => /^\d+$/.test(each))) {
      let args: string[]
      try {
        args = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0')
      } catch {
        // It ended while it was looked at.
        continue
      }
      const at = args.indexOf(cairnProgram)
      const kind = args[at + 1] ?? ''
      if (at < 0 || !args.some(arg => arg.startsWith(path.dirname(this.cluster)))) continue
      const data = args[args.indexOf('--data') + 1] ?? ''
      const role = kind === 'chunkserver' ? path.basename(data) : kind
      if (['master', 'chunkserver', 'mount'].includes(kind)) found.push({ role, pid: Number(name) })
    }
    return found.sort((a, b) => (a.role < b.role ? -1 : 1))
  }

  /** The most memory that each process had resident, MiB. */
  peaks(): Record<string, number> {
    const found: Record<string, number> = {}
    for (const { role, pid } of this.processes()) {
      const status = readFileSync(`/proc/${String(pid)}/status`, 'utf8')
      found[role] = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? Number.NaN) / 1024
    }
    return found
  }

  async #mount(): Promise<void> {
    const began = performance.now()
    this.#mounted = true
    await this.#cairn('mount', this.#master, this.dir, '--log', this.mountLog)
    this.mountsMs.push(performance.now() - began)
  }

  async #umount(): Promise<void> {
    await this.#cairn('umount', this.dir)
    this.#mounted = false
  }

  #cairn(...args: string[]): Promise<string> {
    const said = command(process.execPath, [cairnProgram, ...args], this.#env)
    this.#lastCommand = said.catch(() => undefined)
    return said
  }
}
