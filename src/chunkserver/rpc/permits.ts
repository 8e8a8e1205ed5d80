/** At most so many tasks at once; the others wait in the order of asking. */
export class Permits {
  readonly #most: () => number
  #running = 0
  readonly #waiting: (() => void)[] = []

  /** `most` is at least 1. One that changes is asked when a task begins or ends. */
  constructor(most: number | (() => number)) {
    this.#most = typeof most === 'number' ? () => most : most
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#waiting.length === 0 && this.#running < this.#most()) this.#running++
    else await new Promise<void>(resolve => this.#waiting.push(resolve))
    try {
      return await task()
    } finally {
      this.#running--
      this.#admit()
    }
  }

  #admit(): void {
    while (this.#waiting.length > 0 && this.#running < this.#most()) {
      this.#running++
      this.#waiting.shift()?.()
    }
  }
}
