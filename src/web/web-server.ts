/**
 * Serves pages over HTTP to this machine, and by HTTPS to others: what the console and the pages of metrics and health
 * have in common. Every answer passes `respond`, which refuses first
 *
 *   421  a Host that is not ours: a page of somewhere else had its name lead here (DNS rebinding)
 *   403  a question that a page of somewhere else has the browser ask (Origin, Sec-Fetch-Site)
 *   405  what is neither GET nor HEAD, but for the few that the site takes
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https'
import { type AddressInfo, isIP, type Socket } from 'node:net'
import os from 'node:os'
import type { TLSSocket } from 'node:tls'
import { formatAddress, isLoopback, parseAddress, peerOf } from '../core/address.ts'
import { assert } from '../core/assert.ts'
import { Crowd } from '../core/crowd.ts'
import type { Log } from '../core/env.ts'
import { messageOf, UsageError } from '../core/errors.ts'
import { second } from '../core/units.ts'
import { serverNameOf } from '../wire/tls/peer.ts'
import type { PageTls } from './page-tls.ts'

/** Who asks more slowly than this, or reads so slowly, is hung up on. */
const patienceMs = 10 * second
const connectionsMax = 64
const headerBytesMax = 8192

export interface Answer {
  readonly code: number
  readonly body: string | Buffer
  readonly type: string
  readonly headers?: Readonly<Record<string, string>>
}

export interface Question {
  readonly request: IncomingMessage
  /** Of the URL, up to a question mark; and what is behind it. */
  readonly name: string
  readonly query: string
}

export interface Site {
  /** For messages: "metrics". */
  readonly what: string
  /** Of content security. */
  readonly policy: string
  /** Names that are taken with POST, from its own pages only. */
  readonly posts: readonly string[]
  /** A refusal, in the form in which the site answers. */
  refusal(code: number, why: string): Answer
  answer(question: Question): Promise<Answer>
}

export interface Secured {
  readonly page: PageTls
  readonly log: Log
}

export interface WebServer {
  readonly address: string
  /** By HTTPS. */
  readonly secure: boolean
  close(): Promise<void>
}

/** With `secured` by HTTPS where other machines reach it. UsageError when the address cannot be had. */
export async function listenWeb(address: string, site: Site, secured?: Secured): Promise<WebServer> {
  const wanted = parseAddress(address)
  if (wanted === undefined) throw new UsageError(`'${address}' is no address: give HOST:PORT`)
  const { host } = wanted
  const tls = isLoopback(host) ? undefined : secured
  const scheme = tls === undefined ? 'http' : 'https'
  const names = namesOf(host, tls)
  const take = (request: IncomingMessage, response: ServerResponse): void =>
    void respond(site, { scheme, names, loopback: isLoopback(host) }, request, response)
  const limits = { maxHeaderSize: headerBytesMax, requestTimeout: patienceMs, headersTimeout: patienceMs }
  const server =
    tls === undefined
      ? createServer(limits, take)
      : createSecureServer(
          {
            ...limits,
            ...tls.page.options,
            handshakeTimeout: patienceMs,
            // Browsers come without a certificate, and who has one that is not good hears so.
            requestCert: true,
            rejectUnauthorized: false,
            ALPNProtocols: ['http/1.1'],
          },
          take,
        )
  server.setTimeout(patienceMs)
  if (tls === undefined) server.maxConnections = connectionsMax
  else makeRoom(server, connectionsMax)
  const forget = tls === undefined ? () => undefined : renewing(server as SecureServer, tls)
  await bound(server, wanted, `cannot serve ${site.what} on ${address}`).catch((error: unknown) => {
    forget()
    throw error
  })
  const at = server.address() as AddressInfo | null
  assert(at !== null, 'a server that listens has an address')
  return {
    address: formatAddress({ host, port: at.port }),
    secure: tls !== undefined,
    close: async () => {
      forget()
      const closed = new Promise<void>(resolve => server.close(() => resolve()))
      server.closeAllConnections()
      await closed
    },
  }
}

function bound(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
  cannot: string,
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', error => {
      const code = 'code' in error ? String(error.code) : error.message
      reject(new UsageError(`${cannot}: ${code === 'EADDRINUSE' ? 'it is in use' : code}`))
    })
    server.listen(port, host, resolve)
  })
}

function renewing(server: SecureServer, { page, log }: Secured): () => void {
  return page.onReplace(
    options => server.setSecureContext(options),
    error => log.error('The certificate of pages could not be renewed', { why: messageOf(error) }),
  )
}

/** Whoever comes in masses makes room by what it opened itself. */
function makeRoom(server: Server, most: number): void {
  const open = new Crowd<Socket>()
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? ''
    const end = peerOf(socket)
    open.add(address, end, socket)
    const gone = (): void => open.delete(address, end)
    socket.once('close', gone)
    if (open.size <= most) return
    const crowded = open.oldestOfMost()
    if (crowded === undefined) return
    open.delete(crowded.remoteAddress ?? '', peerOf(crowded))
    crowded.destroy()
  })
  server.on('tlsClientError', (_error: Error, socket: TLSSocket) => socket.destroy())
}

interface Place {
  readonly scheme: 'http' | 'https'
  /** Those that lead here, in small letters, besides addresses. */
  readonly names: ReadonlySet<string>
  readonly loopback: boolean
}

function namesOf(host: string, tls: Secured | undefined): ReadonlySet<string> {
  const names = ['localhost', host.toLowerCase()]
  if (!isLoopback(host)) names.push(os.hostname().toLowerCase())
  if (tls !== undefined) names.push(serverNameOf(tls.page.tls.identity.role))
  return new Set(names)
}

async function respond(
  site: Site,
  place: Place,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const [name = '', query = ''] = cutOnce(request.url ?? '', '?')
  const refusal = refuse(site, place, request, name)
  const answered = refusal ?? (await answerOf(site, { request, name, query }))
  const { code, body, type, headers } = answered
  if (response.destroyed) return
  response.writeHead(code, {
    'content-type': type,
    'cache-control': 'no-store',
    'content-security-policy': site.policy,
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    ...headers,
    // What was not taken is not read either.
    ...(code >= 400 ? { connection: 'close' } : {}),
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}

/** A bug in an answer is told to who asked: it must not end the daemon. */
async function answerOf(site: Site, question: Question): Promise<Answer> {
  try {
    return await site.answer(question)
  } catch (thrown) {
    return site.refusal(500, messageOf(thrown))
  }
}

function refuse(site: Site, place: Place, request: IncomingMessage, name: string): Answer | undefined {
  const { host, origin, 'sec-fetch-site': from, 'sec-fetch-mode': mode } = request.headers
  if (!isOurs(host, place)) return site.refusal(421, 'ask by the address of this machine, not by this name')
  if (origin !== undefined && origin.toLowerCase() !== `${place.scheme}://${(host ?? '').toLowerCase()}`)
    return site.refusal(403, 'a page of somewhere else may not ask')
  // To follow a link to the page is allowed: that shows it, and nothing else.
  if ((from === 'cross-site' || from === 'same-site') && mode !== 'navigate')
    return site.refusal(403, 'a page of somewhere else may not ask')
  if (request.method === 'GET' || request.method === 'HEAD') return undefined
  if (request.method !== 'POST' || !site.posts.includes(name)) return site.refusal(405, 'only GET')
  // Browsers say where a POST comes from. Whoever does not is none, and has a certificate for what it wants.
  return origin === undefined ? site.refusal(403, 'only a page of its own may ask that') : undefined
}

function isOurs(header: string | undefined, { names, loopback }: Place): boolean {
  const asked = /^(?:\[([^\]]+)\]|([^:]+))(?::\d+)?$/.exec(header ?? '')
  const name = (asked?.[1] ?? asked?.[2] ?? '').toLowerCase()
  if (names.has(name)) return true
  return loopback ? isLoopback(name) : isIP(name) !== 0
}

function cutOnce(text: string, at: string): string[] {
  const found = text.indexOf(at)
  return found === -1 ? [text] : [text.slice(0, found), text.slice(found + 1)]
}
