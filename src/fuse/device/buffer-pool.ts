import { requestDataMax } from '../codec/init.ts'

/** Room for the largest request: the kernel refuses reads into less than header, structure and data. */
const requestBytesMax = requestDataMax + 4096

/** Idle buffers kept: what a burst of writes needed is given back to the system after it. */
const idleMax = 8

/** With more buffers than this in use by unanswered writes, small requests move to memory of their own size. */
const lentMax = 8
const smallBytes = 128 * 1024

/** What a session makes of one message: the bytes are free again at once, or when the promise resolves. */
export type Receive = (bytes: Buffer) => Promise<void> | undefined

/** Buffers that requests are read into, each 1 MiB and a page. */
export class BufferPool {
  readonly #idle: Buffer[] = []
  #lent = 0

  take(): Buffer {
    // Not from Node's shared slab, and not zeroed: only what the kernel filled is ever looked at.
    return this.#idle.pop() ?? Buffer.allocUnsafeSlow(requestBytesMax)
  }

  /** Hands the first `bytes` of `buffer` on. True: the buffer may be filled again; else it comes back by itself. */
  pass(buffer: Buffer, bytes: number, receive: Receive): boolean {
    if (this.#lent > lentMax && bytes <= smallBytes) {
      void receive(Buffer.from(buffer.subarray(0, bytes)))
      return true
    }
    const answered = receive(buffer.subarray(0, bytes))
    if (answered === undefined) return true
    this.#lent++
    void answered.then(() => {
      this.#lent--
      if (this.#idle.length < idleMax) this.#idle.push(buffer)
    })
    return false
  }
}
