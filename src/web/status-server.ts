import type { IncomingMessage } from 'node:http'
import { reachesOthers } from '../core/address.ts'
import type { Env } from '../core/env.ts'
import { messageOf } from '../core/errors.ts'
import { Door } from './door.ts'
import type { PageTls } from './page-tls.ts'
import { type Answer, listenWeb, type Site, type WebServer } from './web-server.ts'

export interface StatusPages {
  /** The text of /metrics. */
  readonly metrics: () => Promise<string>
  /** Rejects, saying why, if the process cannot do its work and should be started again. */
  readonly alive: () => Promise<void>
  /** Why it is of no use just now; undefined when it is. */
  readonly unready: () => string | undefined
}

/** Serves /metrics, /healthz and /readyz. They are for reading only. */
export class StatusServer {
  readonly #server: WebServer

  private constructor(server: WebServer) {
    this.#server = server
  }

  /** With `secured` whoever comes from another machine shows a certificate. UsageError when the address cannot be had. */
  static async listen(address: string, pages: StatusPages, secured?: SecuredPages): Promise<StatusServer> {
    const what = 'metrics'
    const door =
      secured === undefined || !reachesOthers(address)
        ? undefined
        : new Door(secured.page.tls, what, secured.env)
    const site: Site = {
      what,
      policy: "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
      posts: [],
      refusal: (code, why) => text(code, `${why}\n`),
      answer: ({ request, name }) => answer(pages, door, request, name),
    }
    return new StatusServer(
      await listenWeb(
        address,
        site,
        secured === undefined ? undefined : { page: secured.page, log: secured.env.log },
      ),
    )
  }

  get address(): string {
    return this.#server.address
  }

  close(): Promise<void> {
    return this.#server.close()
  }
}

export interface SecuredPages {
  readonly page: PageTls
  readonly env: Pick<Env, 'clock' | 'log'>
}

async function answer(
  pages: StatusPages,
  door: Door | undefined,
  request: IncomingMessage,
  name: string,
): Promise<Answer> {
  const entry = door?.enter(request)
  if (entry !== undefined && 'refused' in entry) return text(entry.refused.code, `${entry.refused.why}\n`)
  try {
    switch (name) {
      case '/metrics':
        return text(200, await pages.metrics(), 'text/plain; version=0.0.4; charset=utf-8')
      case '/healthz':
        await pages.alive()
        return text(200, 'ok\n')
      case '/readyz': {
        const why = pages.unready()
        return text(why === undefined ? 200 : 503, `${why ?? 'ok'}\n`)
      }
      default:
        return text(404, 'there are /metrics, /healthz and /readyz\n')
    }
  } catch (error) {
    return text(503, `${messageOf(error)}\n`)
  }
}

const text = (code: number, body: string, type = 'text/plain; charset=utf-8'): Answer => ({
  code,
  body,
  type,
})
