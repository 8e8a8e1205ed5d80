import type { Clock } from '../../core/env.ts'
import { nsPerMs } from '../../core/units.ts'

/**
 * Cluster time as this mount knows it: the master's time when a heartbeat was answered, carried on by
 * the local clock. Never goes back, since what stat showed must not be younger than what comes next.
 */
export class ClusterClock {
  readonly #clock: Clock
  /** Cluster time less local time, ns. */
  #offset = 0n
  /** How wrong the offset may be, ms: half the round trip that it was taken from, growing with age. */
  #errorMs = Number.POSITIVE_INFINITY
  #takenAt = 0
  #last = 0n

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The master said `time` in answer to a message sent at `sentMs` (local clock). */
  sample(time: bigint, sentMs: number): void {
    const now = this.#clock.now()
    const errorMs = Math.max(0, now - sentMs) / 2
    // Clocks of machines drift apart by some 50 ppm at worst.
    const aged = this.#errorMs + (now - this.#takenAt) * 50e-6
    if (errorMs > aged) return
    this.#offset = time + nanoseconds(errorMs) - nanoseconds(now)
    this.#errorMs = errorMs
    this.#takenAt = now
  }

  now(): bigint {
    const time = nanoseconds(this.#clock.now()) + this.#offset
    if (time > this.#last) this.#last = time
    return this.#last
  }
}

function nanoseconds(ms: number): bigint {
  const whole = Math.floor(ms)
  return BigInt(whole) * nsPerMs + BigInt(Math.floor((ms - whole) * 1e6))
}
