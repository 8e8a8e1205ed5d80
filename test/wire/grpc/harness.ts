import type { Log } from '#src/core/env.ts'
import type { FsError } from '#src/core/errors.ts'
import type { CallDef, Codec, Link, Listener, Serving, StreamDef } from '#src/core/network.ts'
import { FsError as Failure } from '#src/core/errors.ts'
import { GrpcNetwork } from '#src/wire/grpc/grpc-network.ts'

export const bytesCodec: Codec<Uint8Array> = {
  encode: frame => frame,
  decode(bytes) {
    if (bytes[0] === 0xff) throw new Failure('EPROTO', 'frames do not begin with 255')
    return bytes
  },
}

export const echo: StreamDef<Uint8Array, Uint8Array> = {
  path: '/test.Test/Echo',
  up: bytesCodec,
  down: bytesCodec,
}
export const twice: CallDef<Uint8Array, Uint8Array> = {
  path: '/test.Test/Twice',
  request: bytesCodec,
  response: bytesCodec,
}

export interface LogLine {
  readonly level: string
  readonly message: string
}

export function recordingLog(lines: LogLine[]): Log {
  const write = (level: string) => (message: string) => void lines.push({ level, message })
  const log: Log = {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: () => log,
  }
  return log
}

export interface Cluster extends AsyncDisposable {
  readonly client: GrpcNetwork
  readonly server: GrpcNetwork
  readonly listener: Listener
  readonly log: readonly LogLine[]
}

export async function cluster(register: (serving: Serving) => void): Promise<Cluster> {
  const log: LogLine[] = []
  const client = new GrpcNetwork({ log: recordingLog(log) })
  const server = new GrpcNetwork({ log: recordingLog(log) })
  const listener = await server.listen('127.0.0.1:0', register)
  return {
    client,
    server,
    listener,
    log,
    async [Symbol.asyncDispose]() {
      await client.close()
      await server.close()
    },
  }
}

/** What arrived on a link, and its end. */
export class Arrivals<In> {
  readonly frames: In[] = []
  readonly closed: Promise<FsError | undefined>
  #closes = 0
  #waiting: { count: number; wake: () => void }[] = []

  constructor(link: Link<never, In>, each?: (frame: In) => void) {
    link.onFrame(frame => {
      this.frames.push(frame)
      each?.(frame)
      for (const { count, wake } of this.#waiting) if (this.frames.length >= count) wake()
    })
    this.closed = new Promise(resolve => {
      link.onClose(error => {
        this.#closes++
        resolve(error)
      })
    })
  }

  get closes(): number {
    return this.#closes
  }

  async until(count: number): Promise<readonly In[]> {
    if (this.frames.length < count)
      await new Promise<void>(resolve => this.#waiting.push({ count, wake: resolve }))
    return this.frames
  }
}

export const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))
