/** What can be held back: a link. */
export interface Holdable {
  pause(): void
  resume(): void
}

/**
 * Bounds what all streams together have received and not yet passed on to the disk and the next node.
 * Over the bound a stream that delivers more is held, and the transport's flow control holds its sender.
 */
export class ReceiveBudget {
  readonly #bytesMax: number
  readonly #held = new Set<Holdable>()
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  take(bytes: number, from: Holdable): void {
    this.#bytes += bytes
    if (this.#bytes <= this.#bytesMax || this.#held.has(from)) return
    this.#held.add(from)
    from.pause()
  }

  release(bytes: number): void {
    this.#bytes -= bytes
    if (this.#bytes > this.#bytesMax / 2) return
    for (const link of this.#held) link.resume()
    this.#held.clear()
  }

  /** The link has closed. */
  forget(link: Holdable): void {
    this.#held.delete(link)
  }
}
