/**
 * Who stays connected to a TLS server. A connection is
 *
 *   arrived ──handshake──► a stranger (no certificate), for a moment: to join
 *                     └──► known, until its identity is revoked or has expired
 *
 * Those that have not got further make room for newer ones: the oldest of the address that has most of them, so that
 * whoever opens connections and says nothing keeps out nobody who speaks, and nobody else at all.
 */
import type { Http2SecureServer, ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { peerOf } from '../../core/address.ts'
import { Counts } from '../../core/counts.ts'
import { Crowd } from '../../core/crowd.ts'
import type { Log } from '../../core/env.ts'
import { messageOf } from '../../core/errors.ts'
import { second } from '../../core/units.ts'
import { Denials } from '../tls/denials.ts'
import { knownIdentity, type PeerIdentity } from '../tls/peer.ts'
import type { Tls } from '../tls/tls.ts'

/** Handshakes that may be under way. */
export const arrivedMax = 256
const strangersMax = 32
/** To join takes long on a busy machine. */
const strangerMs = 30 * second
const sweepMs = 1 * second
/** Of one identity: each stream and call of a mount has one of its own. */
const connectionsMax = 8192

export class Admission {
  readonly #tls: Tls
  readonly #log: Log
  readonly #arrived = new Crowd<Socket>()
  readonly #strangers = new Set<ServerHttp2Session>()
  readonly #known = new Map<ServerHttp2Session, PeerIdentity>()
  /** Connections of each identity. */
  readonly #counts = new Counts(connectionsMax)
  readonly #denials: Denials
  readonly #sweeper: NodeJS.Timeout
  readonly #forget: readonly (() => void)[]

  constructor(server: Http2SecureServer, tls: Tls, log: Log) {
    this.#tls = tls
    this.#log = log
    this.#denials = new Denials(log, () => Date.now())
    const renew = (): void => server.setSecureContext(tls.contextOptions)
    renew()
    this.#forget = [tls.onReplace(renew), tls.standings.onChange(() => this.#sweep())]
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs)
    this.#sweeper.unref()
    server.on('connection', (socket: Socket) => this.#arrive(socket))
    server.on('secureConnection', (socket: TLSSocket) =>
      this.#arrived.delete(addressOf(socket), peerOf(socket)),
    )
    server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
      this.#log.debug('A connection was refused', { peer: peerOf(socket), why: messageOf(error) })
      socket.destroy()
    })
    server.on('session', session => this.#admit(session))
    server.on('close', () => this.close())
  }

  close(): void {
    clearInterval(this.#sweeper)
    for (const forget of this.#forget) forget()
    for (const socket of this.#arrived.all()) socket.destroy()
  }

  #arrive(socket: Socket): void {
    const [address, end] = [addressOf(socket), peerOf(socket)]
    this.#arrived.add(address, end, socket)
    socket.once('close', () => this.#arrived.delete(address, end))
    if (this.#arrived.size <= arrivedMax) return
    const crowded = this.#arrived.oldestOfMost()
    if (crowded === undefined) return
    // It may take a while to close, and is not to be chosen again.
    this.#arrived.delete(addressOf(crowded), peerOf(crowded))
    crowded.destroy()
  }

  #admit(session: ServerHttp2Session): void {
    const socket = session.socket as TLSSocket
    const certificate = socket.getPeerCertificate()
    const identity = socket.authorized ? knownIdentity(certificate) : undefined
    if (identity !== undefined) {
      this.#admitKnown(session, identity, peerOf(socket))
      return
    }
    if (Object.keys(certificate).length > 0) {
      // In spite of its type: null for what is verified and nobody's.
      const why = `its certificate is not good: ${String((socket.authorizationError as Error | null) ?? 'it names no identity')}`
      this.#log.warn('Denied', { audit: true, peer: peerOf(socket), why })
      session.destroy()
      return
    }
    this.#strangers.add(session)
    const late = setTimeout(() => session.destroy(), strangerMs)
    session.once('close', () => {
      clearTimeout(late)
      this.#strangers.delete(session)
    })
    if (this.#strangers.size > strangersMax) this.#strangers.values().next().value?.destroy()
  }

  #admitKnown(session: ServerHttp2Session, identity: PeerIdentity, peer: string): void {
    const { role, name, id } = identity
    if (!this.#counts.add(id)) {
      const why = `more than ${connectionsMax} connections are open`
      this.#denials.note('connect', { peer, role, name, identity: id, why })
      session.destroy()
      return
    }
    this.#known.set(session, identity)
    session.once('close', () => {
      this.#known.delete(session)
      this.#counts.delete(id)
    })
  }

  #sweep(): void {
    const now = Date.now()
    for (const [session, identity] of this.#known) {
      const objection = this.#tls.standings.objection(identity, now)
      if (objection === undefined) continue
      const { role, name, id } = identity
      this.#log.warn('Disconnected', { audit: true, role, name, identity: id, why: objection })
      session.destroy()
    }
  }
}

const addressOf = (socket: Socket): string => socket.remoteAddress ?? ''
