import { Client, credentials } from '@grpc/grpc-js'
import { isIPv4, isIPv6, type Socket } from 'node:net'
import { formatAddress, parseAddress } from '../../core/address.ts'
import { FsError } from '../../core/errors.ts'
import { clientOptions } from './options.ts'

/** A connection of its own for one stream or call. Throws EINVAL for what is no address. */
export class Connection {
  readonly client: Client
  readonly #sockets = new Set<Socket>()
  /** The peer has spoken HTTP/2 to us. */
  reached = false

  constructor(address: string) {
    const parsed = parseAddress(address)
    if (parsed === undefined || parsed.port === 0)
      throw new FsError('EINVAL', `Not an address (HOST:PORT): ${address}`)
    const scheme = isIPv4(parsed.host) ? 'ipv4' : isIPv6(parsed.host) ? 'ipv6' : 'dns'
    const insecure = this.#noting(credentials.createInsecure())
    this.client = new Client(`${scheme}:${formatAddress(parsed)}`, insecure, clientOptions)
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

  #noting(insecure: ReturnType<typeof credentials.createInsecure>): typeof insecure {
    const create = insecure._createSecureConnector.bind(insecure)
    insecure._createSecureConnector = (...args) => {
      const connector = create(...args)
      const connect = connector.connect.bind(connector)
      connector.connect = socket => {
        this.#sockets.add(socket)
        socket.once('close', () => this.#sockets.delete(socket))
        return connect(socket)
      }
      return connector
    }
    return insecure
  }
}
