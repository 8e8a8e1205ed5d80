import {
  Metadata,
  type MethodDefinition,
  type sendUnaryData,
  type Server,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type UntypedHandleCall,
} from '@grpc/grpc-js'
import { hostOfPeer } from '../../core/address.ts'
import { Counts } from '../../core/counts.ts'
import type { Log } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import type { CallDef, Caller, Link, Serving, StreamDef } from '../../core/network.ts'
import { second } from '../../core/units.ts'
import { GrpcLink } from './grpc-link.ts'
import type { Guard } from './guard.ts'
import { asIs, encodeMessage } from './message.ts'
import { firstWordMs } from './patience.ts'
import { errorTrailers, toServiceError } from './status.ts'

/** Of one kind, of one identity, or without TLS of one address: more mounts than may be on a machine have. */
const streamsMax = 2048

/** Puts streams and calls on a server, and knows the links that are open. */
export class GrpcServing implements Serving {
  readonly #server: Server
  readonly #guard: Guard
  readonly #log: Log
  readonly #services = new Set<string>()
  readonly #links = new Set<{ close(): void }>()
  readonly #long = new Set<string>()
  readonly #open = new Counts(streamsMax)

  constructor(server: Server, guard: Guard, log: Log) {
    this.#server = server
    this.#guard = guard
    this.#log = log
  }

  stream<Up, Down>(def: StreamDef<Up, Down>, accept: (link: Link<Down, Up>, caller: Caller) => void): void {
    this.#long.add(def.path)
    this.#add(def.path, true, (stream: ServerDuplexStream<Buffer, Buffer>) =>
      this.#accepted(def, stream, accept),
    )
  }

  call<Request, Response>(
    def: CallDef<Request, Response>,
    handle: (request: Request, caller: Caller) => Promise<Response>,
  ): void {
    this.#add(def.path, false, (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
      const answer = async (): Promise<Buffer> =>
        encodeMessage(def.response, await handle(def.request.decode(call.request), this.#guard.caller(call)))
      answer().then(
        reply => done(null, reply),
        (thrown: unknown) => {
          if (!(thrown instanceof FsError))
            this.#log.error('A call failed', { path: def.path, peer: call.getPeer(), error: thrown })
          done(toServiceError(FsError.from(thrown)))
        },
      )
    })
  }

  /** Names of the services that have a method. */
  get services(): readonly string[] {
    return [...this.#services]
  }

  /** Whether a method is a stream, or none of ours, of which nothing is known. */
  isLong(path: string): boolean {
    return this.#long.has(path) || !path.startsWith('/cairn.')
  }

  /** Ends every link in order. */
  closeLinks(): void {
    for (const link of this.#links) link.close()
  }

  #add(path: string, streams: boolean, handler: UntypedHandleCall): void {
    this.#services.add(path.slice(1, path.lastIndexOf('/')))
    const method: MethodDefinition<Buffer, Buffer> = {
      path,
      requestStream: streams,
      responseStream: streams,
      requestSerialize: asIs,
      requestDeserialize: asIs,
      responseSerialize: asIs,
      responseDeserialize: asIs,
    }
    this.#guard.add(this.#server, method, handler)
  }

  #accepted<Up, Down>(
    def: StreamDef<Up, Down>,
    stream: ServerDuplexStream<Buffer, Buffer>,
    accept: (link: Link<Down, Up>, caller: Caller) => void,
  ): void {
    // Answers the head at once: the other end counts as connected by it.
    stream.sendMetadata(new Metadata())
    const link = new GrpcLink<Down, Up>({
      stream,
      out: def.down,
      in: def.up,
      peer: stream.getPeer(),
      log: this.#log,
      end: error => stream.end(error === undefined ? undefined : errorTrailers(error)),
      heard: () => clearTimeout(late),
    })
    const caller = this.#guard.caller(stream)
    const late = setTimeout(() => {
      if (def.silent !== true)
        link.close(new FsError('ETIMEDOUT', `Nothing was said in ${firstWordMs / second} s`))
    }, firstWordMs)
    const whose = `${caller.identity?.id ?? hostOfPeer(link.peer)} ${def.path}`
    const admitted = this.#open.add(whose)
    this.#links.add(link)
    const lost = (): void => link.ended(new FsError('ECONNRESET', `Lost the connection from ${link.peer}`))
    stream.on('close', () => {
      clearTimeout(late)
      this.#links.delete(link)
      if (admitted) this.#open.delete(whose)
      lost()
    })
    stream.on('cancelled', lost)
    stream.on('end', () => {
      // A reset stream ends too, and only then is said to be cancelled.
      setImmediate(() => {
        link.ended(undefined)
        stream.end()
      })
    })
    try {
      if (!admitted) {
        this.#guard.denied(def.path, caller, 'too many streams of the kind are open')
        throw new FsError('EBUSY', 'Too many streams of the kind are open')
      }
      accept(link, caller)
    } catch (thrown) {
      if (!(thrown instanceof FsError))
        this.#log.error('A stream was not accepted', { path: def.path, peer: link.peer, error: thrown })
      link.close(FsError.from(thrown))
    }
  }
}
