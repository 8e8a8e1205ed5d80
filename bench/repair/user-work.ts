import { randomFillSync } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { open } from 'node:fs/promises'
import path from 'node:path'

const bytes = Buffer.alloc(4096)

/** What a user does meanwhile: small files, each made, written and synced, one after the other. */
export class UserWork {
  readonly #folder: string
  readonly #ended: Promise<void>
  #stop = false
  #files = 0
  #sinceMs = performance.now()
  #before = 0

  constructor(mount: string) {
    this.#folder = path.join(mount, 'user')
    mkdirSync(this.#folder)
    this.#ended = this.#work()
  }

  /** Files a second since this was asked last, or since the beginning. */
  rate(): number {
    const now = performance.now()
    const rate = ((this.#files - this.#before) / (now - this.#sinceMs)) * 1000
    this.#before = this.#files
    this.#sinceMs = now
    return rate
  }

  async end(): Promise<void> {
    this.#stop = true
    await this.#ended
  }

  async #work(): Promise<void> {
    while (!this.#stop) {
      const file = await open(path.join(this.#folder, String(this.#files)), 'wx')
      // What is stored already would not be sent.
      await file.write(randomFillSync(bytes))
      await file.sync()
      await file.close()
      this.#files++
    }
  }
}
