import { OperationTimes } from '../../core/operation-times.ts'

/** What a node did for others since it started, for metrics. */
export class Traffic {
  /** `put`: one block through a chain; `put_small`: one message of whole blocks; `get`. */
  readonly times = new OperationTimes()
  readonly #onMoved: (bytes: number) => void
  #receivedBytes = 0
  #sentBytes = 0

  /** `onMoved` hears of the data that passes, in and out. */
  constructor(onMoved: (bytes: number) => void = () => undefined) {
    this.#onMoved = onMoved
  }

  get receivedBytes(): number {
    return this.#receivedBytes
  }

  get sentBytes(): number {
    return this.#sentBytes
  }

  received(bytes: number): void {
    this.#receivedBytes += bytes
    this.#onMoved(bytes)
  }

  sent(bytes: number): void {
    this.#sentBytes += bytes
    this.#onMoved(bytes)
  }
}
