/**
 * Tells sequential readers of a file from random ones, and how far to read ahead of them. The kernel
 * sends neighbouring requests out of order, so a reader is one who stays near where it is expected.
 */
import { KiB, MiB } from '../../core/units.ts'
import type { Range } from '../interval-set.ts'

/** Readers told apart in one file. */
const streamsMax = 4
const slackBytes = 1 * MiB
const windowFirst = 512 * KiB

interface Stream {
  next: number
  windowBytes: number
  /** Up to here it was read ahead. */
  ahead: number
}

export class ReadStreams {
  readonly #windowMax: number
  /** Most recently seen last. */
  #streams: Stream[] = []

  constructor(windowMax: number) {
    this.#windowMax = windowMax
  }

  /** Notes a read; returns what should be read ahead now. */
  note(offset: number, size: number): Range | undefined {
    const end = offset + size
    const found = this.#streams.find(stream => Math.abs(offset - stream.next) <= slackBytes)
    if (found === undefined) {
      // Who begins at the beginning most likely goes on; of others the second read tells.
      const windowBytes = offset === 0 ? windowFirst / 2 : 0
      this.#touch({ next: end, windowBytes, ahead: end })
      return offset === 0 ? this.#extend(end) : undefined
    }
    this.#touch(found)
    if (end <= found.next) return undefined
    found.next = end
    return this.#extend(end)
  }

  #touch(stream: Stream): void {
    this.#streams = [...this.#streams.filter(other => other !== stream), stream].slice(-streamsMax)
  }

  /** Reads on only when half of the window is used up, so that requests are few and large. */
  #extend(next: number): Range | undefined {
    const stream = this.#streams.at(-1)
    if (stream === undefined || stream.ahead - next > stream.windowBytes / 2) return undefined
    stream.windowBytes = Math.min(this.#windowMax, Math.max(windowFirst, stream.windowBytes * 2))
    const from = Math.max(stream.ahead, next)
    stream.ahead = next + stream.windowBytes
    return from < stream.ahead ? { from, to: stream.ahead } : undefined
  }
}
