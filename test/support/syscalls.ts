import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export type Request = { readonly op: string } & Readonly<Record<string, unknown>>
export type Reply = { readonly ok: unknown } | { readonly errno: string } | { readonly bug: string }

const script = fileURLToPath(new URL('../../../test/support/syscalls.py', import.meta.url))

/** A process that makes system calls below one folder (see syscalls.py). Dispose of it in teardown. */
export class Syscalls {
  readonly #process: ChildProcess
  readonly #lines: Interface
  readonly #waiting: ((line: string) => void)[] = []
  #stderr = ''
  #ended = false

  constructor(root: string, python = '/usr/bin/python3') {
    this.#process = spawn(python, [script, root], { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#lines = createInterface({ input: this.#process.stdout as NodeJS.ReadableStream })
    this.#lines.on('line', line => this.#waiting.shift()?.(line))
    this.#process.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr += chunk.toString()
    })
    this.#process.on('close', (code, signal) => {
      this.#ended = true
      this.#stderr += ` (exit code ${String(code)}, signal ${String(signal)})`
      for (const answer of this.#waiting.splice(0))
        answer(JSON.stringify({ bug: `syscalls.py ended: ${this.#stderr}` }))
    })
    this.#process.stdin?.on('error', () => undefined)
  }

  get pid(): number {
    return this.#process.pid ?? 0
  }

  async call(request: Request): Promise<Reply> {
    if (this.#ended) return { bug: `syscalls.py ended: ${this.#stderr}` }
    const line = new Promise<string>(resolve => {
      this.#waiting.push(resolve)
    })
    this.#process.stdin?.write(`${JSON.stringify(request)}\n`)
    return JSON.parse(await line) as Reply
  }

  /** As `call`, for calls that must succeed. */
  async must<T = unknown>(request: Request): Promise<T> {
    const reply = await this.call(request)
    if ('ok' in reply) return reply.ok as T
    throw new Error(`${JSON.stringify(request)}: ${JSON.stringify(reply)}`)
  }

  async close(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const ended = new Promise(resolve => this.#process.on('exit', resolve))
    this.#process.stdin?.end()
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), 5000)
    await ended
    clearTimeout(timer)
  }
}
