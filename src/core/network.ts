import type { FsError } from './errors.ts'

/**
 * What logic sees of the network: ordered streams of frames between two peers, and single calls.
 * wire/grpc implements it over gRPC, sim/ over virtual time with loss, delay and partitions.
 */
export interface Codec<T> {
  encode(frame: T): Uint8Array
  /** The same bytes in pieces, of which some are the frame's own data: for transports that need not join them. */
  encodeSegments?(frame: T): Uint8Array[]
  /** Throws FsError EPROTO for bytes that are not a frame. Byte fields may be views of `bytes`. */
  decode(bytes: Uint8Array): T
}

/** A bidirectional stream of a gRPC service: `path` is `/package.Service/Method`. */
export interface StreamDef<Up, Down> {
  readonly path: string
  readonly up: Codec<Up>
  readonly down: Codec<Down>
  /** Who dials says nothing: it only listens. */
  readonly silent?: true
}

/** A unary method. */
export interface CallDef<Request, Response> {
  readonly path: string
  readonly request: Codec<Request>
  readonly response: Codec<Response>
}

/**
 * One end of a stream. Frames arrive in the order they were sent or the link closes; what was sent
 * before a close may or may not have arrived. Data buffers handed to `send` belong to the link until they
 * are `taken`.
 */
export interface Link<Out, In> {
  /** Where the other end is, for logs. */
  readonly peer: string
  /**
   * Queues a frame; once closed it goes nowhere. `taken` is called once, when the transport needs the frame's
   * buffers no longer, for whatever reason.
   */
  send(frame: Out, taken?: () => void): void
  /** Bytes queued and not yet taken by the transport. */
  readonly queuedBytes: number
  /** Resolves when `queuedBytes` is below the transport's high-water mark, or the link is closed. */
  drained(): Promise<void>
  /** Set once, synchronously after the link was obtained. A throw closes the link with EPROTO. */
  onFrame(handler: (frame: In) => void): void
  /**
   * Called exactly once, also for one's own close, never from within `close`. The error is undefined for an
   * orderly end; ECONNREFUSED or ETIMEDOUT if the link never was, ECONNRESET if the peer or the way to it
   * went without a word, else what the peer closed with.
   */
  onClose(handler: (error: FsError | undefined) => void): void
  /**
   * Asks the transport to stop handing over frames until `resume`, so that its flow control holds the
   * sender. Frames that were already taken from the socket may still arrive: it bounds memory, it is no lock.
   */
  pause(): void
  resume(): void
  /** Ends the link; what was sent before still goes out, unless the end that dialled gives an error. */
  close(error?: FsError): void
}

export interface Listener {
  /** host:port as bound (port 0 resolved). */
  readonly address: string
  close(): Promise<void>
}

export interface CallOptions {
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}

/** Who made a call or opened a stream, as far as TLS tells; without it nobody knows. */
export interface Caller {
  /** Where the other end is, for logs. */
  readonly peer: string
  readonly identity: { readonly role: string; readonly name: string; readonly id: string } | undefined
}

export interface Serving {
  stream<Up, Down>(def: StreamDef<Up, Down>, accept: (link: Link<Down, Up>, caller: Caller) => void): void
  call<Request, Response>(
    def: CallDef<Request, Response>,
    handle: (request: Request, caller: Caller) => Promise<Response>,
  ): void
}

export interface Network {
  /** Opens a stream. Frames may be sent at once; failure to connect arrives as a close (ECONNREFUSED, ETIMEDOUT). */
  dial<Up, Down>(address: string, def: StreamDef<Up, Down>): Link<Up, Down>
  /** A single call. Rejects with FsError: the remote's own, or ETIMEDOUT, ECONNREFUSED, ECANCELED. */
  call<Request, Response>(
    address: string,
    def: CallDef<Request, Response>,
    request: Request,
    options: CallOptions,
  ): Promise<Response>
  /** Serves what `register` names on one address. Rejects with a UsageError when the address cannot be had. */
  listen(address: string, register: (serving: Serving) => void): Promise<Listener>
}

/**
 * A place where blocking work is done in order, a batch at a time: a Worker thread in a daemon, a
 * virtual delay in the simulator. Requests and replies are plain values that can be cloned.
 */
export interface Lane<In, Out> {
  run(batch: readonly In[]): Promise<Out[]>
  close(): Promise<void>
}
