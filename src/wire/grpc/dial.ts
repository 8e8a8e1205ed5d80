import {
  type ClientDuplexStream,
  Metadata,
  type ServiceError,
  type StatusObject,
  status,
} from '@grpc/grpc-js'
import type { Log } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import type { CallDef, CallOptions, StreamDef } from '../../core/network.ts'
import type { PeerIdentity } from '../tls/peer.ts'
import type { Dialler } from '../tls/tls.ts'
import { Connection } from './connection.ts'
import { GrpcLink } from './grpc-link.ts'
import { asIs, encodeMessage } from './message.ts'
import { closeGraceMs, connectTimeoutMs } from './options.ts'
import { errorOfTrailers, fromStatus } from './status.ts'

export interface Dialled<Up, Down> {
  readonly link: GrpcLink<Up, Down>
  /** Who serves it, once that is known. */
  readonly server: () => PeerIdentity | undefined
  /** Drops the connection at once. */
  readonly drop: () => void
  /** Resolves when the stream has ended and its connection was given back. */
  readonly finished: Promise<void>
}

/** Opens a stream. Throws EINVAL for a bad address. */
export function dialStream<Up, Down>(
  address: string,
  def: StreamDef<Up, Down>,
  { log, tls }: { readonly log: Log; readonly tls: Dialler | undefined },
): Dialled<Up, Down> {
  const connection = new Connection(address, def.path, tls)
  const stream: ClientDuplexStream<Buffer, Buffer> = connection.client.makeBidiStreamRequest(
    def.path,
    asIs,
    asIs,
    new Metadata(),
    {},
  )
  let trailers: Metadata | undefined
  let grace: NodeJS.Timeout | undefined

  const link = new GrpcLink<Up, Down>({
    stream,
    out: def.up,
    in: def.down,
    peer: address,
    log,
    end(error) {
      if (error === undefined) {
        stream.end()
        grace = setTimeout(() => stream.cancel(), closeGraceMs)
      } else stream.cancel()
    },
  })
  const connecting = setTimeout(() => {
    link.close(new FsError('ETIMEDOUT', `Cannot connect to ${address}: no answer in ${connectTimeoutMs} ms`))
  }, connectTimeoutMs)

  stream.on('metadata', () => {
    connection.reached = true
    clearTimeout(connecting)
  })
  stream.on('error', (error: ServiceError) => link.ended(fromStatus(error, address, connection)))
  // Only now, since frames before an OK status may still be on their way through the stream.
  stream.on('end', () => {
    link.ended(errorOfTrailers(trailers))
    stream.end()
  })
  const finished = new Promise<void>(resolve => {
    stream.on('status', (ended: StatusObject) => {
      trailers = ended.metadata
      clearTimeout(connecting)
      clearTimeout(grace)
      connection.close()
      resolve()
    })
  })
  return { link, server: () => connection.server, drop: () => stream.cancel(), finished }
}

/** A single call, on a connection of its own. */
export async function callUnary<Request, Response>(
  address: string,
  def: CallDef<Request, Response>,
  request: Request,
  { timeoutMs, signal }: CallOptions,
  tls: Dialler | undefined,
): Promise<Response> {
  if (signal?.aborted === true) throw new FsError('ECANCELED', `Call to ${address} was cancelled`)
  const connection = new Connection(address, def.path, tls)
  try {
    const reply = await new Promise<Buffer>((resolve, reject) => {
      const message = encodeMessage(def.request, request)
      const deadline = new Date(Date.now() + timeoutMs)
      const call = connection.client.makeUnaryRequest(
        def.path,
        asIs,
        asIs,
        message,
        new Metadata(),
        { deadline },
        (error, value) => {
          signal?.removeEventListener('abort', cancel)
          if (error !== null) reject(callError(error, address, connection, timeoutMs))
          else if (value === undefined) reject(new FsError('EPROTO', `${address} answered nothing`))
          else resolve(value)
        },
      )
      const cancel = (): void => call.cancel()
      call.on('metadata', () => {
        connection.reached = true
      })
      signal?.addEventListener('abort', cancel, { once: true })
    })
    return def.response.decode(reply)
  } finally {
    connection.close()
  }
}

function callError(error: ServiceError, address: string, connection: Connection, timeoutMs: number): FsError {
  const fsError = fromStatus(error, address, connection)
  if (error.code === status.DEADLINE_EXCEEDED && errorOfTrailers(error.metadata) === undefined)
    return new FsError('ETIMEDOUT', `No answer from ${address} in ${timeoutMs} ms`)
  return fsError
}
