import { Server, ServerCredentials } from '@grpc/grpc-js'
import type { Http2SecureServer, Http2Server, ServerHttp2Session } from 'node:http2'
import { formatAddress, parseAddress } from '../../core/address.ts'
import { assert } from '../../core/assert.ts'
import type { Log } from '../../core/env.ts'
import { messageOf, UsageError } from '../../core/errors.ts'
import type { Listener, Serving } from '../../core/network.ts'
import type { Tls } from '../tls/tls.ts'
import { Admission } from './admission.ts'
import { Guard } from './guard.ts'
import { handshakeTimeoutMs, serverOptions, stopGraceMs, windowBytes } from './options.ts'
import { watchSession } from './patience.ts'
import { GrpcServing } from './serve.ts'
import { addHealth, addReflection } from './tools.ts'

/** Serves on one address until closed, with health and reflection besides what `register` names. */
export async function listenOn(
  address: string,
  register: (serving: Serving) => void,
  { log, tls }: { readonly log: Log; readonly tls: Tls | undefined },
): Promise<Listener> {
  const parsed = parseAddress(address)
  if (parsed === undefined) throw new UsageError(`Cannot listen on ${address}: not an address (HOST:PORT)`)
  const server = new Server(serverOptions)
  const guard = new Guard(tls, log)
  const serving = new GrpcServing(server, guard, log)
  prepare(server, tls, log, path => serving.isLong(path))
  register(serving)
  const health = addHealth(server, guard, serving.services)
  addReflection(server, guard, serving.services)

  const port = await bind(server, formatAddress(parsed), tls).catch((error: unknown) => {
    server.forceShutdown()
    throw new UsageError(`Cannot listen on ${address}: ${reasonOf(messageOf(error))}`)
  })
  let closing: Promise<void> | undefined
  return {
    address: formatAddress({ host: parsed.host, port }),
    close() {
      health.stopping()
      closing ??= stop(server, serving)
      return closing
    },
  }
}

function bind(server: Server, address: string, tls: Tls | undefined): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentialsOf(tls), (error, port) => {
      if (error === null) resolve(port)
      else reject(error)
    })
  })
}

function credentialsOf(tls: Tls | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure()
  const { authority, key, certificate } = tls.credentials
  const pair = { private_key: Buffer.from(key), cert_chain: Buffer.from(certificate) }
  return ServerCredentials.createSsl(Buffer.from(authority), [pair], true)
}

/** Does not rely on tryShutdown: it never calls back when a session was just destroyed by its keepalive. */
function stop(server: Server, serving: GrpcServing): Promise<void> {
  serving.closeLinks()
  return new Promise(resolve => {
    const force = setTimeout(() => {
      server.forceShutdown()
      resolve()
    }, stopGraceMs)
    server.tryShutdown(() => {
      clearTimeout(force)
      resolve()
    })
  })
}

function reasonOf(message: string): string {
  if (message.includes('EADDRINUSE')) return 'the port is in use'
  if (message.includes('EACCES')) return 'permission denied'
  if (message.includes('EADDRNOTAVAIL')) return 'this machine has no such address'
  if (message.includes('ENOTFOUND') || message.includes('EAI_AGAIN') || message.includes('Name resolution'))
    return 'no such host'
  return message
}

/** The parts of grpc-js' Server that its types hide. */
interface ServerInternals {
  commonServerOptions: {
    settings?: Record<string, unknown>
    rejectUnauthorized?: boolean
    handshakeTimeout?: number
  }
  createHttp2Server: (credentials: ServerCredentials) => Http2Server | Http2SecureServer
}

/**
 * grpc-js has an option for the client's windows but none for the server's, which stay at 64 KiB, a
 * round trip each. So its HTTP/2 server is made with a larger window for streams, and every session
 * gets a larger one for the connection. Nor has it one for what TLS must be like, and who stays connected.
 * Fails loudly where the internals are no longer so.
 */
function prepare(server: Server, tls: Tls | undefined, log: Log, isLong: (path: string) => boolean): void {
  const internals = server as unknown as ServerInternals
  assert(typeof internals.commonServerOptions === 'object', 'grpc-js Server has commonServerOptions')
  assert(typeof internals.createHttp2Server === 'function', 'grpc-js Server has createHttp2Server')
  const options = internals.commonServerOptions
  options.settings = { ...options.settings, initialWindowSize: windowBytes }
  options.handshakeTimeout = handshakeTimeoutMs
  // A stranger may join, with the master; who has a certificate that is not good is told why in the log.
  options.rejectUnauthorized = tls?.identity.role !== 'master'
  const create = internals.createHttp2Server.bind(server)
  internals.createHttp2Server = credentials => {
    const http2Server = create(credentials)
    http2Server.on('session', (session: ServerHttp2Session) => {
      session.setLocalWindowSize(windowBytes)
      watchSession(session, isLong)
    })
    if (tls !== undefined) new Admission(http2Server as Http2SecureServer, tls, log)
    return http2Server
  }
}
