import { createHash, randomBytes } from 'node:crypto'
import { promises as fs } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'

const sha = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex')

export interface Failure {
  readonly name: string
  readonly code: string
  readonly call: string
}

/** Programs that write files and sync each, small and large ones, and remember what was acknowledged, and what was not. */
export class AckedLoad {
  /** SHA-256 of what `fsync` vouched for, by name. */
  readonly acked = new Map<string, string>()
  readonly failures: Failure[] = []
  readonly #dir: string
  readonly #programs: Promise<unknown>
  #number = 0
  #stop = false

  /** It ends with the test at the latest. */
  constructor(t: ExecutionContext, dir: string, sizes: readonly number[] = [800, 60_000, 600_000]) {
    this.#dir = dir
    this.#programs = Promise.all(sizes.map(size => this.#write(size)))
    // Not waited for: what hangs in a call is freed by what takes the mount away.
    t.teardown(() => {
      this.#stop = true
    })
  }

  /** Until so many more were acknowledged. */
  async more(count: number, withinMs = 120_000): Promise<void> {
    const [wanted, until] = [this.acked.size + count, Date.now() + withinMs]
    while (this.acked.size < wanted) {
      if (Date.now() > until)
        throw new Error(`the load does not go on; what failed last: ${JSON.stringify(this.failures.at(-1))}`)
      await sleep(50)
    }
  }

  async end(): Promise<void> {
    this.#stop = true
    await this.#programs
  }

  /** What is not as it was acknowledged, in words. */
  async wrong(): Promise<string[]> {
    const wrong: string[] = []
    for (const [name, hash] of this.acked) {
      const data = await fs.readFile(path.join(this.#dir, name)).catch(String)
      if (typeof data === 'string') wrong.push(`${name}: ${data}`)
      else if (sha(data) !== hash) wrong.push(`${name} has other bytes (${String(data.length)})`)
    }
    return wrong
  }

  async #write(size: number): Promise<void> {
    while (!this.#stop) {
      const name = `f-${String(this.#number++)}`
      const data = randomBytes(1 + Math.floor(Math.random() * size))
      try {
        const file = await fs.open(path.join(this.#dir, name), 'wx')
        try {
          await file.writeFile(data)
          await file.sync()
        } finally {
          await file.close()
        }
        this.acked.set(name, sha(data))
      } catch (error) {
        const { code, syscall } = error as NodeJS.ErrnoException
        this.failures.push({ name, code: code ?? String(error), call: syscall ?? '' })
        await sleep(100)
      }
      await sleep(10)
    }
  }
}
