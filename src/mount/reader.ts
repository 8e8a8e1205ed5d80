import type { Timer, Timers } from '../core/env.ts'
import { FsError } from '../core/errors.ts'
import type { Caller } from '../fuse/filesystem.ts'

/** How soon a program that is killed while it waits is let go. */
const lookMs = 250

/**
 * A program that reads, and waits for bytes that may not come. Whatever signal it gets, the kernel says INTERRUPT; but
 * no program expects EINTR of a file, and a page fault that fails is SIGBUS. So, as on a local disk, only who is being
 * killed is let go. That may come after another signal, and then the kernel says nothing more: it is looked for until
 * the read is `over`.
 */
export class Reader {
  readonly #caller: Caller
  readonly #timers: Timers
  readonly #isKilled: (pid: number) => boolean
  #controller: AbortController | undefined
  #timer: Timer | undefined
  #over = false

  constructor(caller: Caller, timers: Timers, isKilled: (pid: number) => boolean) {
    this.#caller = caller
    this.#timers = timers
    this.#isKilled = isKilled
  }

  /** Aborted when the program is being killed. Made on first use. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      const { signal } = this.#caller
      if (signal.aborted) this.#look()
      else signal.addEventListener('abort', () => this.#look(), { once: true })
    }
    return this.#controller.signal
  }

  over(): void {
    this.#over = true
    this.#timer?.cancel()
  }

  #look(): void {
    if (this.#over) return
    if (this.#isKilled(this.#caller.pid)) this.#controller?.abort(new FsError('EINTR'))
    else this.#timer = this.#timers.after(lookMs, () => this.#look())
  }
}
