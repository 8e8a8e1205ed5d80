/**
 * Tells those who wait for a rate, and those who wait behind them on the same stream, that they are not forgotten: a mount
 * that hears nothing of what it asked for gives the node up, though another one would make it wait as long. Who waits for
 * something else than a rate hears nothing: a disk that hangs is to be given up.
 */
import type { Timer, Timers } from '../../core/env.ts'

/** Before a mount that has heard nothing for 300 ms asks another copy, too. */
export const signMs = 200
/** Those behind are many, and need it only before they give up. */
const behindEvery = 3

export class SignsOfLife {
  readonly #timers: Timers
  readonly #send: (call: bigint) => void
  readonly #paced = new Set<bigint>()
  readonly #behind = new Set<bigint>()
  #timer: Timer | undefined
  #wasPaced = false
  #ticks = 0

  constructor(timers: Timers, send: (call: bigint) => void) {
    this.#timers = timers
    this.#send = send
  }

  /** It waits for the turns of others. */
  isBehind(call: bigint): void {
    this.#behind.add(call)
  }

  /** It waits for them no more. */
  hasTurn(call: bigint): void {
    this.#behind.delete(call)
  }

  /** Until the wait for a rate is over. */
  async during<T>(call: bigint, wait: Promise<T>): Promise<T> {
    this.#paced.add(call)
    this.#wasPaced = true
    this.#arm()
    try {
      return await wait
    } finally {
      this.#paced.delete(call)
    }
  }

  close(): void {
    this.#timer?.cancel()
  }

  #arm(): void {
    this.#timer ??= this.#timers.after(signMs, () => this.#tick())
  }

  #tick(): void {
    this.#timer = undefined
    // Between two messages of a get nobody may be paced for a moment.
    if (!this.#wasPaced) return
    this.#wasPaced = this.#paced.size > 0
    for (const call of this.#paced) this.#send(call)
    if (++this.#ticks % behindEvery === 0) for (const call of this.#behind) this.#send(call)
    this.#arm()
  }
}
