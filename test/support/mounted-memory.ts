import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('./memory-mount.js', import.meta.url))

/** A MemoryFileSystem mounted by a process of its own on a new folder. */
export class MountedMemory {
  readonly path: string
  readonly #process: ChildProcess
  readonly #exited: Promise<void>
  #said = ''

  private constructor(path: string, options: object, reader: string) {
    this.path = path
    this.#process = spawn(process.execPath, [program, path, JSON.stringify(options), reader], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#exited = new Promise(resolve => this.#process.on('close', () => resolve()))
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
