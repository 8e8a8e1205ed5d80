/** Serves the console: a page for browsers, and the questions that it asks. It can change nothing. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, isIP } from 'node:net'
import { formatAddress, parseAddress } from '../core/address.ts'
import { assert } from '../core/assert.ts'
import type { Env } from '../core/env.ts'
import { type ErrnoName, FsError, UsageError } from '../core/errors.ts'
import { second } from '../core/units.ts'
import { Api } from './api.ts'
import type { ClusterView } from './cluster-view.ts'
import { History } from './history.ts'
import { PageFiles } from './page-files.ts'

/** Who asks more slowly than this, or reads so slowly, is hung up on. */
const patienceMs = 10 * second
const connectionsMax = 64

const httpCodes: Partial<Record<ErrnoName, number>> = {
  EINVAL: 400,
  ENAMETOOLONG: 400,
  ENOENT: 404,
  ENOTDIR: 404,
}

export class ConsoleServer {
  readonly address: string
  readonly #close: () => Promise<void>

  private constructor(address: string, close: () => Promise<void>) {
    this.address = address
    this.#close = close
  }

  /** UsageError when the address cannot be had. */
  static async listen(env: Env, address: string, view: ClusterView): Promise<ConsoleServer> {
    const wanted = parseAddress(address)
    if (wanted === undefined) throw new UsageError(`'${address}' is no address: give HOST:PORT`)
    const files = new PageFiles(new URL('page/', import.meta.url))
    const history = new History(env, view)
    const api = new Api(env, view, history)
    const site = { env, api, files, host: wanted.host }
    const server = createServer((request, response) => void respond(site, request, response))
    server.requestTimeout = patienceMs
    server.headersTimeout = patienceMs
    server.setTimeout(patienceMs)
    server.maxConnections = connectionsMax
    await new Promise<void>((resolve, reject) => {
      server.once('error', error => {
        const code = 'code' in error ? String(error.code) : error.message
        reject(
          new UsageError(
            `cannot serve the console on ${address}: ${code === 'EADDRINUSE' ? 'it is in use' : code}`,
          ),
        )
      })
      server.listen(wanted.port, wanted.host, resolve)
    })
    const bound = server.address() as AddressInfo | null
    assert(bound !== null, 'a server that listens has an address')
    history.start()
    return new ConsoleServer(formatAddress({ host: wanted.host, port: bound.port }), async () => {
      history.stop()
      const closed = new Promise<void>(resolve => server.close(() => resolve()))
      server.closeAllConnections()
      await closed
    })
  }

  close(): Promise<void> {
    return this.#close()
  }
}

interface Site {
  readonly env: Env
  readonly api: Api
  readonly files: PageFiles
  /** As it was told to listen. */
  readonly host: string
}

const apiPrefix = '/api/'

async function respond(site: Site, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const say = (code: number, body: string | Buffer, type = 'application/json; charset=utf-8'): void => {
    response.writeHead(code, {
      'content-type': type,
      'cache-control': 'no-store',
      'content-security-policy': site.files.policy,
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
    })
    response.end(request.method === 'HEAD' ? undefined : body)
  }
  const refuse = (code: number, why: string): void => say(code, JSON.stringify({ error: why }))
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    refuse(405, 'only GET')
    return
  }
  if (!isOurs(request.headers.host, site.host)) {
    refuse(421, 'ask by the address of this machine, not by this name')
    return
  }
  const [name = '', query = ''] = cutOnce(request.url ?? '', '?')
  if (!name.startsWith(apiPrefix)) {
    const file = site.files.find(name)
    if (file === undefined) refuse(404, 'there is no such page')
    else say(200, file.bytes, file.type)
    return
  }
  try {
    const answer = await site.api.answer(name.slice(apiPrefix.length), query)
    if (answer === undefined) refuse(404, 'there is no such question')
    else say(200, JSON.stringify(answer))
  } catch (thrown) {
    const error = FsError.from(thrown)
    if (!(thrown instanceof FsError)) site.env.log.error('the console failed', { why: error.message })
    refuse(httpCodes[error.code] ?? 503, error.message)
  }
}

/**
 * A page of somewhere else can have its own name lead here (DNS rebinding), and would then be let read the answers:
 * so that names are refused, but for the one that this was told to listen on.
 */
function isOurs(header: string | undefined, host: string): boolean {
  const asked = /^(?:\[([^\]]+)\]|([^:]+))(?::\d+)?$/.exec(header ?? '')
  const name = (asked?.[1] ?? asked?.[2] ?? '').toLowerCase()
  return name === 'localhost' || name === host.toLowerCase() || isIP(name) !== 0
}

function cutOnce(text: string, at: string): string[] {
  const found = text.indexOf(at)
  return found === -1 ? [text] : [text.slice(0, found), text.slice(found + 1)]
}
