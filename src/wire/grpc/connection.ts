import { type ChannelCredentials, Client, credentials } from '@grpc/grpc-js'
import { isIPv4, isIPv6, type Socket } from 'node:net'
import { checkServerIdentity, type PeerCertificate } from 'node:tls'
import { formatAddress, parseAddress } from '../../core/address.ts'
import { FsError } from '../../core/errors.ts'
import { identityOf, type PeerIdentity, serverName } from '../tls/peer.ts'
import { methodOf } from '../tls/roles.ts'
import { codeOf } from '../tls/standing.ts'
import type { Dialler } from '../tls/tls.ts'
import { clientOptions } from './options.ts'

/** A connection of its own for one stream or call. Throws EINVAL for what is no address. */
export class Connection {
  readonly client: Client
  readonly #sockets = new Set<Socket>()
  /** The peer has spoken HTTP/2 to us. */
  reached = false
  /** There was somebody, whatever became of it. */
  #met = false
  readonly #secured: boolean
  /** Who serves, once that is verified. */
  server: PeerIdentity | undefined

  /** `path`: of the method that is to be called, which says what the other end must be. */
  constructor(address: string, path: string, tls: Dialler | undefined) {
    const parsed = parseAddress(address)
    if (parsed === undefined || parsed.port === 0)
      throw new FsError('EINVAL', `Not an address (HOST:PORT): ${address}`)
    const scheme = isIPv4(parsed.host) ? 'ipv4' : isIPv6(parsed.host) ? 'ipv6' : 'dns'
    this.#secured = tls !== undefined
    const chosen = tls === undefined ? credentials.createInsecure() : this.#secure(path, tls)
    this.client = new Client(`${scheme}:${formatAddress(parsed)}`, this.#noting(chosen), clientOptions)
  }

  /** What may be the matter where somebody is there and does not speak as we do. */
  get hint(): string {
    if (!this.#met || this.reached || this.server !== undefined) return ''
    return this.#secured ? '' : ' (it may want TLS, for which this process has no identity)'
  }

  /**
   * Streams that are still open go on to their end. grpc-js forgets a connection whose handshake it still
   * waits for: with a peer that accepts and says nothing (a stopped process) each attempt would leave a
   * socket behind, so those are destroyed here.
   */
  close(): void {
    this.client.close()
    if (!this.reached) for (const socket of this.#sockets) socket.destroy()
  }

  #secure(path: string, tls: Dialler): ChannelCredentials {
    const now = Date.now()
    const own = tls.identity === undefined ? undefined : tls.standings.objection(tls.identity, now)
    if (own !== undefined)
      throw new FsError(
        codeOf(own),
        `The identity ${tls.identity?.name ?? ''} of this machine is ${own}: join again`,
      )
    return credentials.createFromSecureContext(tls.context, {
      checkServerIdentity: (_host: string, certificate: PeerCertificate) => {
        const wrong = checkServerIdentity(serverName, certificate)
        if (wrong !== undefined) return wrong
        try {
          const server = identityOf(certificate)
          const objection = tls.standings.objection(server, now)
          if (objection !== undefined) return new Error(`the identity ${server.name} there is ${objection}`)
          if (methodOf(path)?.servers.includes(server.role) !== true)
            return new Error(`the certificate there is of a ${server.role}`)
          this.server = server
          return undefined
        } catch (thrown) {
          return FsError.from(thrown)
        }
      },
    })
  }

  #noting(chosen: ChannelCredentials): ChannelCredentials {
    const create = chosen._createSecureConnector.bind(chosen)
    chosen._createSecureConnector = (...args) => {
      const connector = create(...args)
      const connect = connector.connect.bind(connector)
      connector.connect = socket => {
        this.#sockets.add(socket)
        this.#met = true
        socket.once('close', () => this.#sockets.delete(socket))
        return connect(socket)
      }
      return connector
    }
    return chosen
  }
}
