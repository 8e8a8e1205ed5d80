import { assert } from '../../core/assert.ts'
import type { Log } from '../../core/env.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import type { Codec, Link } from '../../core/network.ts'
import { encodeMessage } from './message.ts'
import { highWaterBytes } from './options.ts'

/** Messages that node may take from the socket ahead of us; each can be a whole block. */
const readAheadMessages = 2

/** What a link needs of a grpc-js stream, of either end. Messages are Buffers (see message.ts). */
export interface MessageStream {
  write(message: Buffer, written: () => void): boolean
  on(event: 'data', listener: (message: Buffer) => void): unknown
  pause(): unknown
  resume(): unknown
}

export interface LinkOptions<Out, In> {
  readonly stream: MessageStream
  readonly out: Codec<Out>
  readonly in: Codec<In>
  readonly peer: string
  readonly log: Log
  /** Ends the stream at this side; called at most once, unless the other side ended it. */
  readonly end: (error: FsError | undefined) => void
  /** A whole frame is there. */
  readonly heard?: () => void
}

/**
 * A link over one gRPC stream.
 *
 *   open ──close()──────────────► closed     the stream is ended, nothing more is delivered
 *     └───ended() by the transport ──► closed
 *
 * A frame counts as queued until grpc-js' write callback: HTTP/2 took it within the peer's window.
 */
export class GrpcLink<Out, In> implements Link<Out, In> {
  readonly peer: string
  readonly #options: LinkOptions<Out, In>
  #queuedBytes = 0
  #waiting: (() => void)[] = []
  /** What is called when buffers are no longer needed: a stream that ends may not call back. */
  readonly #lent = new Set<() => void>()
  #paused = false
  #onFrame: ((frame: In) => void) | undefined
  #onClose: ((error: FsError | undefined) => void) | undefined
  #closed: { readonly error: FsError | undefined } | undefined
  #told = false

  constructor(options: LinkOptions<Out, In>) {
    this.#options = options
    this.peer = options.peer
    limitReadAhead(options.stream)
  }

  get queuedBytes(): number {
    return this.#queuedBytes
  }

  get closed(): boolean {
    return this.#closed !== undefined
  }

  send(frame: Out, taken?: () => void): void {
    if (this.#closed !== undefined) {
      taken?.()
      return
    }
    const message = encodeMessage(this.#options.out, frame)
    const { length } = message
    this.#queuedBytes += length
    if (taken !== undefined) this.#lent.add(taken)
    this.#options.stream.write(message, () => {
      if (taken !== undefined && this.#lent.delete(taken)) taken()
      this.#written(length)
    })
  }

  drained(): Promise<void> {
    if (this.#closed !== undefined || this.#queuedBytes < highWaterBytes) return Promise.resolve()
    return new Promise(resolve => this.#waiting.push(resolve))
  }

  onFrame(handler: (frame: In) => void): void {
    assert(this.#onFrame === undefined, 'onFrame is set once')
    this.#onFrame = handler
    this.#options.stream.on('data', (message: Buffer) => this.#receive(message))
    if (this.#paused) this.#options.stream.pause()
  }

  onClose(handler: (error: FsError | undefined) => void): void {
    assert(this.#onClose === undefined, 'onClose is set once')
    this.#onClose = handler
    if (this.#closed !== undefined) this.#tell()
  }

  pause(): void {
    this.#paused = true
    this.#options.stream.pause()
  }

  resume(): void {
    this.#paused = false
    // Before there is a handler, a stream that flows would lose what arrives.
    if (this.#onFrame !== undefined) this.#options.stream.resume()
  }

  close(error?: FsError): void {
    if (this.#closed !== undefined) return
    this.ended(error)
    this.#options.end(error)
    // What still arrives is thrown away, so that the stream can finish.
    this.#options.stream.resume()
  }

  /** The transport ended the link. */
  ended(error: FsError | undefined): void {
    if (this.#closed !== undefined) return
    this.#closed = { error }
    this.#queuedBytes = 0
    for (const wake of this.#waiting) wake()
    this.#waiting = []
    for (const taken of this.#lent) taken()
    this.#lent.clear()
    this.#tell()
  }

  /** Never within the caller's turn: a close handler must not run in the middle of what closed the link. */
  #tell(): void {
    process.nextTick(() => {
      if (this.#told || this.#onClose === undefined) return
      this.#told = true
      this.#onClose(this.#closed?.error)
    })
  }

  #written(bytes: number): void {
    if (this.#closed !== undefined) return
    this.#queuedBytes -= bytes
    if (this.#queuedBytes >= highWaterBytes || this.#waiting.length === 0) return
    for (const wake of this.#waiting) wake()
    this.#waiting = []
  }

  #receive(message: Buffer): void {
    if (this.#closed !== undefined) return
    this.#options.heard?.()
    try {
      this.#onFrame?.(this.#options.in.decode(message))
    } catch (thrown) {
      if (!(thrown instanceof FsError))
        this.#options.log.error('A frame handler failed', { peer: this.peer, error: thrown })
      this.close(new FsError('EPROTO', messageOf(thrown), { cause: thrown }))
    }
  }
}

/** grpc-js makes its streams with node's default of 16 messages, which can be 16 MiB. */
function limitReadAhead(stream: MessageStream): void {
  const { _readableState: state } = stream as unknown as { _readableState: { highWaterMark: number } }
  state.highWaterMark = readAheadMessages
}
