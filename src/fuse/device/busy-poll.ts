import { availableParallelism } from 'node:os'
import type { Clock } from '../../core/env.ts'

/** So often in a row nothing came in time: nobody is waited for any more, until requests come quickly again. */
const missesMax = 4

export interface BusyPollOptions {
  /** How long to wait after each answer; 0 is not at all. */
  readonly windowMicros: number
  readonly clock: Clock
  /** With one processor nobody else could ask meanwhile. By default as many as this process may use. */
  readonly processors?: number
  /** Has something done in the next turn of the event loop, which therefore does not sleep. */
  readonly nextTurn?: (look: () => void) => void
}

/**
 * Keeps the event loop from sleeping for a moment after an answer: who got it mostly asks again within some 20
 * microseconds, and waking a processor that sleeps takes as long again, in a virtual machine longer, once in each
 * direction. What halt polling (Linux, `haltpoll`) does for a processor, this does for one process.
 *
 * Where requests come one by one with longer pauses, nothing is waited for.
 */
export class BusyPoll {
  readonly #clock: Clock
  readonly #windowMs: number
  readonly #nextTurn: (look: () => void) => void
  readonly #look = (): void => this.#again()
  #answeredMs = 0
  #waiting = false
  #awake = false
  #misses = 0

  constructor({
    windowMicros,
    clock,
    processors = availableParallelism(),
    nextTurn = setImmediate,
  }: BusyPollOptions) {
    this.#clock = clock
    this.#windowMs = processors < 2 ? 0 : windowMicros / 1000
    this.#nextTurn = nextTurn
  }

  /** An answer was given: another request is likely. */
  answered(): void {
    if (this.#windowMs === 0) return
    this.#answeredMs = this.#clock.now()
    this.#waiting = true
    if (this.#awake || this.#misses >= missesMax) return
    this.#awake = true
    this.#nextTurn(this.#look)
  }

  /** A request has come. */
  asked(): void {
    if (!this.#waiting) return
    this.#waiting = false
    if (this.#misses > 0 && this.#isInTime()) this.#misses = 0
  }

  /** Each turn in which this is due asks the system for news without sleeping. */
  #again(): void {
    if (this.#waiting && this.#isInTime()) {
      this.#nextTurn(this.#look)
      return
    }
    this.#awake = false
    if (this.#waiting) this.#misses++
  }

  #isInTime(): boolean {
    return this.#clock.now() - this.#answeredMs < this.#windowMs
  }
}
