import {
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  type ServiceError,
  type StatusObject,
  status,
} from '@grpc/grpc-js'
import { isIPv4, isIPv6 } from 'node:net'
import { formatAddress, parseAddress } from '../../core/address.ts'
import type { Log } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import type { CallDef, CallOptions, StreamDef } from '../../core/network.ts'
import { GrpcLink } from './grpc-link.ts'
import { asIs, encodeMessage } from './message.ts'
import { clientOptions, closeGraceMs, connectTimeoutMs } from './options.ts'
import { errorOfTrailers, fromStatus } from './status.ts'

/** Every link and call has a connection of its own (TRANSPORT: streams are long-lived, calls are rare). */
function connect(address: string): Client {
  const parsed = parseAddress(address)
  if (parsed === undefined || parsed.port === 0)
    throw new FsError('EINVAL', `Not an address (HOST:PORT): ${address}`)
  const scheme = isIPv4(parsed.host) ? 'ipv4' : isIPv6(parsed.host) ? 'ipv6' : 'dns'
  return new Client(`${scheme}:${formatAddress(parsed)}`, credentials.createInsecure(), clientOptions)
}

export interface Dialled<Up, Down> {
  readonly link: GrpcLink<Up, Down>
  /** Drops the connection at once. */
  readonly drop: () => void
}

/** Opens a stream. `finished` is called when the connection was given back. Throws EINVAL for a bad address. */
export function dialStream<Up, Down>(
  address: string,
  def: StreamDef<Up, Down>,
  log: Log,
  finished: () => void,
): Dialled<Up, Down> {
  const client = connect(address)
  const stream: ClientDuplexStream<Buffer, Buffer> = client.makeBidiStreamRequest(
    def.path,
    asIs,
    asIs,
    new Metadata(),
    {},
  )
  let reached = false
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
    reached = true
    clearTimeout(connecting)
  })
  stream.on('error', (error: ServiceError) => link.ended(fromStatus(error, address, reached)))
  // Only now, since frames before an OK status may still be on their way through the stream.
  stream.on('end', () => {
    link.ended(errorOfTrailers(trailers))
    stream.end()
  })
  stream.on('status', (ended: StatusObject) => {
    trailers = ended.metadata
    clearTimeout(connecting)
    clearTimeout(grace)
    client.close()
    finished()
  })
  return { link, drop: () => stream.cancel() }
}

/** A single call, on a connection of its own. */
export async function callUnary<Request, Response>(
  address: string,
  def: CallDef<Request, Response>,
  request: Request,
  { timeoutMs, signal }: CallOptions,
): Promise<Response> {
  if (signal?.aborted === true) throw new FsError('ECANCELED', `Call to ${address} was cancelled`)
  const client = connect(address)
  try {
    const reply = await new Promise<Buffer>((resolve, reject) => {
      let reached = false
      const message = encodeMessage(def.request, request)
      const deadline = new Date(Date.now() + timeoutMs)
      const call = client.makeUnaryRequest(
        def.path,
        asIs,
        asIs,
        message,
        new Metadata(),
        { deadline },
        (error, value) => {
          signal?.removeEventListener('abort', cancel)
          if (error !== null) reject(callError(error, address, reached, timeoutMs))
          else if (value === undefined) reject(new FsError('EPROTO', `${address} answered nothing`))
          else resolve(value)
        },
      )
      const cancel = (): void => call.cancel()
      call.on('metadata', () => {
        reached = true
      })
      signal?.addEventListener('abort', cancel, { once: true })
    })
    return def.response.decode(reply)
  } finally {
    client.close()
  }
}

function callError(error: ServiceError, address: string, reached: boolean, timeoutMs: number): FsError {
  const fsError = fromStatus(error, address, reached)
  if (error.code === status.DEADLINE_EXCEEDED && errorOfTrailers(error.metadata) === undefined)
    return new FsError('ETIMEDOUT', `No answer from ${address} in ${timeoutMs} ms`)
  return fsError
}
