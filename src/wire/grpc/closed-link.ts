import type { FsError } from '../../core/errors.ts'
import type { Link } from '../../core/network.ts'

/** A link that never was: it only tells why. */
export class ClosedLink<Out, In> implements Link<Out, In> {
  readonly peer: string
  readonly queuedBytes = 0
  readonly #error: FsError

  constructor(peer: string, error: FsError) {
    this.peer = peer
    this.#error = error
  }

  send(_frame: Out, taken?: () => void): void {
    taken?.()
  }

  drained(): Promise<void> {
    return Promise.resolve()
  }

  onFrame(_handler: (frame: In) => void): void {
    // None will come.
  }

  onClose(handler: (error: FsError | undefined) => void): void {
    process.nextTick(() => handler(this.#error))
  }

  pause(): void {
    // Nothing to hold.
  }

  resume(): void {
    // Nothing to hold.
  }

  close(): void {
    // Closed from the start.
  }
}
