import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { formatAddress, parseAddress } from '../core/address.ts'
import { assert } from '../core/assert.ts'
import { messageOf, UsageError } from '../core/errors.ts'
import { second } from '../core/units.ts'

export interface StatusPages {
  /** The text of /metrics. */
  readonly metrics: () => Promise<string>
  /** Rejects, saying why, if the process cannot do its work and should be started again. */
  readonly alive: () => Promise<void>
  /** Why it is of no use just now; undefined when it is. */
  readonly unready: () => string | undefined
}

/** A scraper that asks more slowly than this, or reads so slowly, is hung up on. */
const patienceMs = 10 * second

/** Serves /metrics, /healthz and /readyz. They are for reading only, and for whoever reaches the address. */
export class StatusServer {
  readonly address: string
  readonly #close: () => Promise<void>

  private constructor(address: string, close: () => Promise<void>) {
    this.address = address
    this.#close = close
  }

  /** UsageError when the address cannot be had. */
  static async listen(address: string, pages: StatusPages): Promise<StatusServer> {
    const wanted = parseAddress(address)
    if (wanted === undefined) throw new UsageError(`'${address}' is no address: give HOST:PORT`)
    const server = createServer((request, response) => void answer(pages, request, response))
    server.requestTimeout = patienceMs
    server.headersTimeout = patienceMs
    server.setTimeout(patienceMs)
    await new Promise<void>((resolve, reject) => {
      server.once('error', error => {
        const code = 'code' in error ? String(error.code) : error.message
        const why = code === 'EADDRINUSE' ? 'it is in use' : code
        reject(new UsageError(`cannot serve metrics on ${address}: ${why}`))
      })
      server.listen(wanted.port, wanted.host, resolve)
    })
    const bound = server.address() as AddressInfo | null
    assert(bound !== null, 'a server that listens has an address')
    return new StatusServer(formatAddress({ host: wanted.host, port: bound.port }), async () => {
      const closed = new Promise<void>(resolve => server.close(() => resolve()))
      server.closeAllConnections()
      await closed
    })
  }

  close(): Promise<void> {
    return this.#close()
  }
}

async function answer(pages: StatusPages, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    say(response, 405, 'only GET\n')
    return
  }
  try {
    switch (request.url?.split('?')[0]) {
      case '/metrics':
        say(response, 200, await pages.metrics(), 'text/plain; version=0.0.4; charset=utf-8')
        return
      case '/healthz':
        await pages.alive()
        say(response, 200, 'ok\n')
        return
      case '/readyz': {
        const why = pages.unready()
        say(response, why === undefined ? 200 : 503, `${why ?? 'ok'}\n`)
        return
      }
      default:
        say(response, 404, 'there are /metrics, /healthz and /readyz\n')
    }
  } catch (error) {
    say(response, 503, `${messageOf(error)}\n`)
  }
}

function say(response: ServerResponse, code: number, body: string, type = 'text/plain; charset=utf-8'): void {
  response.writeHead(code, { 'content-type': type, 'cache-control': 'no-store' })
  response.end(body)
}
