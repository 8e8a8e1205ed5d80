/**
 * Serves the console: a page for browsers, and the questions that it asks. It can change nothing. From other machines
 * it is reached by HTTPS, and whoever asks something there is an admin or observer:
 *
 *   /login.html  takes the code of `cairn console login`, which stands behind # in its link and so is in no log
 *   POST /login  a cookie for the code
 *   POST /logout
 */
import type { IncomingMessage } from 'node:http'
import { reachesOthers } from '../core/address.ts'
import type { Env } from '../core/env.ts'
import { type ErrnoName, FsError } from '../core/errors.ts'
import { Door, type Refused } from '../web/door.ts'
import type { Logins, Visitor } from '../web/logins.ts'
import type { PageTls } from '../web/page-tls.ts'
import { type Answer, listenWeb, type Question, type Site, type WebServer } from '../web/web-server.ts'
import type { VisitorAnswer } from './answers.ts'
import { Api } from './api.ts'
import type { ClusterView } from './cluster-view.ts'
import { History } from './history.ts'
import { PageFiles } from './page-files.ts'

const httpCodes: Partial<Record<ErrnoName, number>> = {
  EINVAL: 400,
  ENAMETOOLONG: 400,
  ENOENT: 404,
  ENOTDIR: 404,
}

/** Of a code, in JSON. */
const bodyBytesMax = 1024

/** For who comes from other machines. */
export interface ConsoleTls {
  readonly page: PageTls
  readonly logins: Logins
}

export class ConsoleServer {
  /** Whoever comes is asked who he is. */
  readonly asksWho: boolean
  readonly #server: WebServer
  readonly #history: History

  private constructor(server: WebServer, history: History, asksWho: boolean) {
    this.#server = server
    this.#history = history
    this.asksWho = asksWho
  }

  /** UsageError when the address cannot be had. */
  static async listen(
    env: Env,
    address: string,
    view: ClusterView,
    tls?: ConsoleTls,
  ): Promise<ConsoleServer> {
    const files = new PageFiles(new URL('page/', import.meta.url))
    const history = new History(env, view)
    const api = new Api(env, view, history)
    const asked = tls === undefined || !reachesOthers(address) ? undefined : tls
    const door = asked === undefined ? undefined : new Door(asked.page.tls, 'the console', env, asked.logins)
    const parts: Parts = { env, api, files, door }
    const site: Site = {
      what: 'the console',
      policy: files.policy,
      posts: door === undefined ? [] : ['/login', '/logout'],
      refusal: failure,
      answer: question => answer(parts, question),
    }
    const server = await listenWeb(
      address,
      site,
      asked === undefined ? undefined : { page: asked.page, log: env.log },
    )
    history.start()
    return new ConsoleServer(server, history, door !== undefined)
  }

  get address(): string {
    return this.#server.address
  }

  close(): Promise<void> {
    this.#history.stop()
    return this.#server.close()
  }
}

interface Parts {
  readonly env: Env
  readonly api: Api
  readonly files: PageFiles
  /** Undefined: only this machine reaches it, or it was told to ask nobody. */
  readonly door: Door | undefined
}

const apiPrefix = '/api/'
/** Shows names of files, or what is in them: as with the commands, not for observers. */
const adminOnly: readonly string[] = ['folder', 'blocks']

async function answer(parts: Parts, { request, name, query }: Question): Promise<Answer> {
  const { api, door, env, files } = parts
  if (request.method === 'POST' && door !== undefined)
    return name === '/login' ? login(door, request) : logout(door, request)
  if (!name.startsWith(apiPrefix)) {
    const file = files.find(name)
    return file === undefined
      ? failure(404, 'there is no such page')
      : { code: 200, body: file.bytes, type: file.type }
  }
  const asked = name.slice(apiPrefix.length)
  let visitor: Visitor | undefined
  let cookie: string | undefined
  if (door !== undefined) {
    const entry = door.enter(request)
    if ('refused' in entry) return refused(entry.refused)
    ;({ visitor, cookie } = entry)
  }
  if (asked === 'visitor') return json(200, visitorAnswer(visitor, cookie))
  if (visitor !== undefined && visitor.role !== 'admin' && adminOnly.includes(asked))
    return failure(403, `names of files are not for the role ${visitor.role}: come as an admin`)
  try {
    const found = await api.answer(asked, query)
    return found === undefined ? failure(404, 'there is no such question') : json(200, found)
  } catch (thrown) {
    const error = FsError.from(thrown)
    if (!(thrown instanceof FsError)) env.log.error('the console failed', { why: error.message })
    return failure(httpCodes[error.code] ?? 503, error.message)
  }
}

async function login(door: Door, request: IncomingMessage): Promise<Answer> {
  const code = await codeOf(request)
  if (code === undefined) return failure(400, 'that is no code')
  const entered = door.login(request, code)
  if ('refused' in entered) return refused(entered.refused)
  return json(200, {}, { 'set-cookie': entered.cookie })
}

function logout(door: Door, request: IncomingMessage): Answer {
  const entry = door.enter(request)
  return json(200, {}, { 'set-cookie': door.logout('refused' in entry ? undefined : entry.cookie) })
}

/** What a page sends: `{"code": "…"}`. */
async function codeOf(request: IncomingMessage): Promise<string | undefined> {
  if (request.headers['content-type'] !== 'application/json') return undefined
  const parts: Buffer[] = []
  let bytes = 0
  try {
    for await (const part of request as AsyncIterable<Buffer>) {
      bytes += part.length
      if (bytes > bodyBytesMax) return undefined
      parts.push(part)
    }
    const body = JSON.parse(Buffer.concat(parts).toString()) as { readonly code?: unknown } | null
    return typeof body?.code === 'string' ? body.code : undefined
  } catch {
    // It hung up, or that was no JSON: no code either way.
    return undefined
  }
}

const visitorAnswer = (visitor: Visitor | undefined, cookie: string | undefined): VisitorAnswer => ({
  name: visitor?.name ?? null,
  role: visitor?.role ?? null,
  login: cookie !== undefined,
})

const json = (code: number, body: object, headers: Readonly<Record<string, string>> = {}): Answer => ({
  ...{ code, headers, body: JSON.stringify(body) },
  type: 'application/json; charset=utf-8',
})

const failure = (code: number, why: string): Answer => json(code, { error: why })

const refused = ({ code, why, headers = {} }: Refused): Answer => json(code, { error: why }, headers)
