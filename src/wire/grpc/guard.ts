import type {
  handleBidiStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  MethodDefinition,
  Server,
  ServerDuplexStream,
  ServerUnaryCall,
  ServerWritableStream,
  UntypedHandleCall,
} from '@grpc/grpc-js'
import type { Log } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import type { Caller } from '../../core/network.ts'
import { Denials } from '../tls/denials.ts'
import { knownIdentity, type PeerIdentity } from '../tls/peer.ts'
import { methodOf } from '../tls/roles.ts'
import { codeOf } from '../tls/standing.ts'
import type { Tls } from '../tls/tls.ts'
import { toServiceError } from './status.ts'

type AnyCall =
  | ServerUnaryCall<unknown, unknown>
  | ServerWritableStream<unknown, unknown>
  | ServerDuplexStream<unknown, unknown>

/**
 * The one door by which methods get on a server. With TLS nothing is called that the table of roles does not allow
 * the caller; without, there is no telling who calls, and everything is.
 */
export class Guard {
  readonly #tls: Tls | undefined
  readonly #log: Log
  readonly #denials: Denials

  constructor(tls: Tls | undefined, log: Log) {
    this.#tls = tls
    this.#log = log
    this.#denials = new Denials(log, () => Date.now())
  }

  add<Request, Response>(
    server: Server,
    method: MethodDefinition<Request, Response>,
    handler: UntypedHandleCall,
  ): void {
    const { path, requestStream, responseStream } = method
    let guarded: UntypedHandleCall
    if (!responseStream) {
      const handle = handler as handleUnaryCall<unknown, unknown>
      guarded = ((call, done) => {
        const refusal = this.#refusal(path, call)
        if (refusal === undefined) handle(call, done)
        else done(toServiceError(refusal))
      }) as handleUnaryCall<unknown, unknown>
    } else {
      const handle = handler as (call: AnyCall) => void
      const guard = (call: AnyCall): void => {
        const refusal = this.#refusal(path, call)
        if (refusal === undefined) handle(call)
        else call.emit('error', toServiceError(refusal))
      }
      guarded = requestStream
        ? (guard as handleBidiStreamingCall<unknown, unknown>)
        : (guard as handleServerStreamingCall<unknown, unknown>)
    }
    server.addService({ [path]: method }, { [path]: guarded })
  }

  /** What was refused after the door, for the audit log. */
  denied(path: string, { peer, identity }: Caller, why: string): void {
    const { role, name, id } = identity ?? { role: 'none', name: '', id: '' }
    this.#denials.note(path, { method: path, peer, role, name, identity: id, why })
  }

  caller(call: AnyCall): Caller {
    return { peer: call.getPeer(), identity: this.#identity(call) }
  }

  #refusal(path: string, call: AnyCall): FsError | undefined {
    if (this.#tls === undefined) return undefined
    const identity = this.#identity(call)
    const refusal = this.#objection(path, identity, this.#tls)
    const who = identity ?? { role: 'none', name: '', id: '' }
    const fields = { method: path, peer: call.getPeer(), role: who.role, name: who.name, identity: who.id }
    if (refusal !== undefined) {
      this.#denials.note(path, { ...fields, why: refusal.message })
      return refusal
    }
    if (methodOf(path)?.audited === true) this.#log.info('Called', { audit: true, ...fields })
    return undefined
  }

  #objection(path: string, identity: PeerIdentity | undefined, tls: Tls): FsError | undefined {
    const denied = (why: string): FsError => new FsError('EACCES', why)
    const method = methodOf(path)
    if (method === undefined) return denied(`nobody may call ${path}`)
    if (identity === undefined)
      return method.strangers === true ? undefined : denied('a certificate is needed: see cairn node join')
    const objection = tls.standings.objection(identity, Date.now())
    if (objection !== undefined)
      return new FsError(codeOf(objection), `the identity ${identity.name} (${identity.id}) is ${objection}`)
    return method.callers.includes(identity.role)
      ? undefined
      : denied(`the role ${identity.role} of ${identity.name} does not allow it`)
  }

  /** Of a certificate that TLS has verified. */
  #identity(call: AnyCall): PeerIdentity | undefined {
    const certificate = call.getAuthContext().sslPeerCertificate
    return certificate === undefined ? undefined : knownIdentity(certificate)
  }
}
