import type { Clock } from '../../core/env.ts'

/** The lease ends here this much before it may end at the master, for timers that fire late. */
const marginMs = 1000

/**
 * How long what the leases cover may be served: counted from the *sending* of the last message that
 * the master answered, so that it ends here before it ends there.
 */
export class LeaseClock {
  readonly #clock: Clock
  #until = Number.NEGATIVE_INFINITY
  /** The end was noticed: what was cached is dropped, and only a new contact begins anew. */
  #lapsed = true

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The master answered what was sent at `sentMs`. */
  contact(sentMs: number, leaseMs: number): void {
    this.#until = Math.max(this.#until, sentMs + leaseMs - marginMs)
    this.#lapsed = this.#until <= this.#clock.now()
  }

  leftMs(): number {
    return this.#lapsed ? 0 : Math.max(0, this.#until - this.#clock.now())
  }

  /** True once when the lease has run out. */
  ranOut(): boolean {
    if (this.#lapsed || this.#until > this.#clock.now()) return false
    this.#lapsed = true
    return true
  }

  end(): void {
    this.#until = Number.NEGATIVE_INFINITY
    this.#lapsed = true
  }
}
