import type { Clock } from '../../core/env.ts'
import { nsPerMs } from '../../core/units.ts'

/** Clocks of machines drift apart by some 50 ppm at worst. */
const drift = 50e-6
/** Beyond this the master's clock was set, not drifted. */
const jumpNs = 1000n * nsPerMs

/**
 * Cluster time as this mount knows it: what the master said last, carried on by the local clock. Each
 * word of the master is old by the time of its travel, so the youngest-looking one is the best, and
 * this clock is late by that time and never ahead: a file is not changed after its change was
 * recorded. It never goes back, since what stat showed must not be younger than what comes next.
 */
export class ClusterClock {
  readonly #clock: Clock
  /** Cluster time less local time, ns. */
  #offset: bigint | undefined
  #takenAt = 0
  #last: bigint

  /** `last`: what was shown before. */
  constructor(clock: Clock, last = 0n) {
    this.#clock = clock
    this.#last = last
  }

  /**
   * A word of the master has just arrived, which answers what was sent at `sentMs` of the local clock. It was
   * said after that, so this clock, had it shown more then, was ahead: pauses of the machine do that.
   */
  sample(time: bigint, sentMs: number): void {
    const now = this.#clock.now()
    const most = time - nanoseconds(sentMs)
    if (this.#offset !== undefined && this.#offset > most) this.#offset = most
    const offset = time - nanoseconds(now)
    if (this.#offset !== undefined) {
      const aged = this.#offset - nanoseconds((now - this.#takenAt) * drift)
      if (offset < aged && aged - offset < jumpNs) return
    }
    this.#offset = offset
    this.#takenAt = now
  }

  now(): bigint {
    const time = nanoseconds(this.#clock.now()) + (this.#offset ?? 0n)
    if (time > this.#last) this.#last = time
    return this.#last
  }
}

function nanoseconds(ms: number): bigint {
  const whole = Math.floor(ms)
  return BigInt(whole) * nsPerMs + BigInt(Math.floor((ms - whole) * 1e6))
}
