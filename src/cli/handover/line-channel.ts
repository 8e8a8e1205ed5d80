import type { Duplex } from 'node:stream'
import { createInterface } from 'node:readline'
import { lineOf, type Message, parseSaid, type Said, type Word } from './messages.ts'

/** Lines to and from the other process. */
export class LineChannel {
  readonly #stream: Duplex
  readonly #lines: AsyncIterator<string>

  constructor(stream: Duplex) {
    this.#stream = stream
    // It ends when the other process does, which whoever listens is told.
    stream.on('error', () => undefined)
    this.#lines = createInterface({ input: stream })[Symbol.asyncIterator]()
  }

  /** Resolves when it has left this process. */
  say(message: Message): Promise<void> {
    return new Promise(resolve => this.#stream.write(lineOf(message), () => resolve()))
  }

  /** The next message; undefined where the other process has ended without one. Rejects if it is another one. */
  async hear<W extends Word>(expected: W): Promise<Said<W> | undefined> {
    const next = await this.#lines.next()
    return next.done === true ? undefined : parseSaid(next.value, expected)
  }

  close(): void {
    this.#stream.destroy()
  }
}
