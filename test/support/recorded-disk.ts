import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { deserialize } from 'node:v8'
import type { DiskEvent } from './disk-events.ts'

const program = fileURLToPath(new URL('./recording-mount.js', import.meta.url))

/** A disk, in the memory of a process of its own, of which all writes and syncs are known afterwards. */
export class RecordedDisk {
  readonly #dir = mkdtempSync(join(tmpdir(), 'cairn-recorded-'))
  readonly path = join(this.#dir, 'disk')
  readonly #process: ChildProcess
  readonly #exited: Promise<void>
  readonly #asked = new Map<number, (count: number) => void>()
  #nextId = 1
  #said = ''

  private constructor() {
    mkdirSync(this.path)
    this.#process = spawn(process.execPath, [program, this.path, this.#events], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    this.#exited = new Promise(resolve => this.#process.on('close', () => resolve()))
    this.#process.on('message', (message: unknown) => {
      const [id, count] = message as [number, number]
      this.#asked.get(id)?.(count)
      this.#asked.delete(id)
    })
    this.#process.stderr?.on('data', (text: Buffer) => {
      this.#said += text.toString()
    })
  }

  static async start(): Promise<RecordedDisk> {
    const disk = new RecordedDisk()
    const lines = createInterface({ input: disk.#process.stdout as NodeJS.ReadableStream })
    const first = await new Promise<string>(resolve => {
      lines.once('line', resolve)
      lines.once('close', () => resolve(''))
    })
    if (first === 'mounted') return disk
    await disk.close()
    throw new Error(disk.#said)
  }

  /** How much has been done so far: all that was acknowledged before this was asked. */
  moment(): Promise<number> {
    const id = this.#nextId++
    return new Promise(resolve => {
      this.#asked.set(id, resolve)
      this.#process.send(id)
    })
  }

  /** The users are gone: unmounts, and tells what was done. */
  async events(): Promise<DiskEvent[]> {
    execFileSync('umount', ['-i', this.path], { stdio: 'pipe' })
    await this.#exited
    return deserialize(readFileSync(this.#events)) as DiskEvent[]
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
    rmSync(this.#dir, { recursive: true, force: true })
  }

  get #events(): string {
    return join(this.#dir, 'events')
  }
}
