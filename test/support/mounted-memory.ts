import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Command } from './memory-mount.ts'

const program = fileURLToPath(new URL('./memory-mount.js', import.meta.url))

/** A MemoryFileSystem mounted by a process of its own on a new folder. */
export class MountedMemory {
  readonly path: string
  readonly #process: ChildProcess
  readonly #exited: Promise<void>
  readonly #asked = new Map<number, (result: unknown) => void>()
  #nextId = 1
  #said = ''

  private constructor(path: string, options: object, reader: string) {
    this.path = path
    this.#process = spawn(process.execPath, [program, path, JSON.stringify(options), reader], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    this.#exited = new Promise(resolve => this.#process.on('close', () => resolve()))
    this.#process.on('message', (message: unknown) => {
      const [id, result] = message as [number, unknown]
      this.#asked.get(id)?.(result)
      this.#asked.delete(id)
    })
    this.#process.stderr?.on('data', (text: Buffer) => {
      this.#said += text.toString()
    })
  }

  static newFolder(): string {
    return mkdtempSync(join(tmpdir(), 'cairn-fuse-'))
  }

  /** Mounts; rejects with what the process said if it cannot. */
  static async start(
    options: object = {},
    reader = 'epoll',
    path = MountedMemory.newFolder(),
  ): Promise<MountedMemory> {
    const mounted = new MountedMemory(path, options, reader)
    const lines = createInterface({ input: mounted.#process.stdout as NodeJS.ReadableStream })
    const first = await new Promise<string>(resolve => {
      lines.once('line', resolve)
      lines.once('close', () => resolve(''))
    })
    lines.on('line', line => {
      mounted.#said += `${line}\n`
    })
    if (first === 'mounted') return mounted
    await mounted.#exited
    throw new Error(mounted.#said)
  }

  /** Does one of the commands of memory-mount.ts. */
  ask<T = void>(command: Command, ...args: readonly (string | number)[]): Promise<T> {
    const id = this.#nextId++
    return new Promise(resolve => {
      this.#asked.set(id, result => resolve(result as T))
      this.#process.send([id, command, ...args])
    })
  }

  /** What the process printed: log lines at warning or above, and its closing line. */
  get said(): string {
    return this.#said
  }

  get pid(): number {
    return this.#process.pid ?? 0
  }

  kill(signal: NodeJS.Signals): Promise<void> {
    this.#process.kill(signal)
    return this.#exited
  }

  get exited(): Promise<void> {
    return this.#exited
  }

  unmount(): void {
    execFileSync('umount', ['-i', this.path], { stdio: 'pipe' })
  }

  /** Leaves nothing behind, whatever state the test ended in. */
  async close(): Promise<void> {
    try {
      execFileSync('umount', ['-i', '-c', '-l', this.path], { stdio: 'pipe' })
    } catch {
      // Not mounted any more.
    }
    this.#process.kill('SIGTERM')
    await this.#exited
    rmdirSync(this.path)
  }
}
