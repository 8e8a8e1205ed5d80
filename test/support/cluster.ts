import { execFile } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { kill9 } from './processes.js'

const run = promisify(execFile)
export const cairnProgram = fileURLToPath(new URL('../../../dist/cli/cairn.js', import.meta.url))

/** Runs the CLI to its end. Rejects with stdout and stderr when the exit code is not 0. */
export async function cairn(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const { stdout } = await run(process.execPath, [cairnProgram, ...args], {
    env: { ...process.env, ...env },
    maxBuffer: 64 << 20,
  })
  return stdout
}

/** As `cairn`, for runs that are to fail: the exit code and what was said. */
export async function cairnFails(
  args: readonly string[],
): Promise<{ code: number; stderr: string; stdout: string }> {
  try {
    const stdout = await cairn(args)
    return { code: 0, stderr: '', stdout }
  } catch (error) {
    const failed = error as { code?: number; stderr?: string; stdout?: string }
    return { code: failed.code ?? -1, stderr: failed.stderr ?? '', stdout: failed.stdout ?? '' }
  }
}

export interface ClusterOptions {
  readonly chunkservers?: number
  readonly mount?: boolean
  /** Mounts beside the first one. */
  readonly moreMounts?: number
  /** Where it serves its console. */
  readonly console?: string
}

/** A real cluster of real processes in a temporary folder, with a real mount. Dispose of it in teardown. */
export class Cluster {
  readonly dir: string
  readonly mount: string
  /** All mounts, `mount` first. */
  readonly mounts: readonly string[]
  readonly #options: ClusterOptions
  /** Mounts that were added, with the process that serves each. */
  readonly #added = new Map<string, number>()

  private constructor(dir: string, options: ClusterOptions) {
    this.dir = dir
    this.mount = path.join(dir, 'mnt')
    const more = Array.from({ length: options.moreMounts ?? 0 }, (_, i) => `${this.mount}-${String(i + 2)}`)
    this.mounts = [this.mount, ...more]
    this.#options = options
  }

  static async start(options: ClusterOptions = {}): Promise<Cluster> {
    for (const [need, why] of [
      [existsSync('/dev/fuse'), 'this test needs /dev/fuse'],
      [process.getuid?.() === 0, 'this test needs root, to mount'],
    ] as const)
      if (!need) throw new Error(why)
    const dir = mkdtempSync(path.join(os.tmpdir(), 'cairn-test-'))
    // The mount is in it, and other users are to reach that.
    chmodSync(dir, 0o755)
    const cluster = new Cluster(dir, options)
    await cluster.up()
    return cluster
  }

  async up(): Promise<void> {
    const args = ['up', '--dir', this.dir, '--detach']
    if (this.#options.mount !== false) args.push('--mount', this.mount)
    if (this.#options.chunkservers !== undefined)
      args.push('--chunkservers', String(this.#options.chunkservers))
    if (this.#options.console !== undefined) args.push('--console', this.#options.console)
    await cairn(args)
    for (const mount of this.mounts.slice(1)) await this.#mountAt(mount)
  }

  /** Address of the master. */
  get master(): string {
    const running = readFileSync(path.join(this.dir, 'running.json'), 'utf8')
    return (JSON.parse(running) as { master: string }).master
  }

  async #mountAt(mount: string): Promise<void> {
    mkdirSync(mount, { recursive: true })
    await cairn(['mount', this.master, mount, '--log', `${mount}.log`])
  }

  async down(): Promise<void> {
    await cairn(['down', '--dir', this.dir])
  }

  /** Mounts the cluster once more, and answers with the path. `dispose` unmounts it. */
  async addMount(name: string, options: readonly string[] = []): Promise<string> {
    const target = path.join(this.dir, name)
    mkdirSync(target, { recursive: true })
    const said = await cairn(['mount', this.master, target, '--log', `${target}.log`, '--json', ...options])
    this.#added.set(target, (JSON.parse(said) as { pid: number }).pid)
    return target
  }

  /** Runs a command against this cluster and parses its JSON. */
  async json<T>(...args: string[]): Promise<T> {
    return JSON.parse(await cairn([...args, '--dir', this.dir, '--json'])) as T
  }

  async dispose(): Promise<void> {
    try {
      for (const [target, pid] of this.#added) await endMount(target, pid)
      for (const mount of this.mounts.slice(1)) await cairnFails(['umount', mount])
      await this.down()
    } finally {
      for (const mount of this.mounts) await run('umount', ['-l', mount]).catch(() => undefined)
      rmSync(this.dir, { recursive: true, force: true })
    }
  }
}

/** Also one that a test has stopped, cut off or killed. */
export async function endMount(target: string, pid: number): Promise<void> {
  await run('umount', ['-l', target]).catch(() => undefined)
  for (let tries = 0; tries < 50 && commandOf(pid).includes(target); tries++) await sleep(100)
  if (commandOf(pid).includes(target)) kill9(pid)
}

const commandOf = (pid: number): string => {
  try {
    return readFileSync(`/proc/${String(pid)}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}
