import type { Clock } from '../../core/env.ts'

/** So long after a request of a mount began, went on or was answered, more are expected. */
const lingerMs = 50

/** Whether mounts want something of this node now, so that what can wait makes room. */
export class UserActivity {
  readonly #clock: Clock
  #lastMs = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** A request of a mount, or what one wants stored, came or was answered. */
  note(): void {
    this.#lastMs = this.#clock.now()
  }

  get isBusy(): boolean {
    return this.#clock.now() - this.#lastMs < lingerMs
  }
}
