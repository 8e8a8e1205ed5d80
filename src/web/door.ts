import type { IncomingMessage } from 'node:http'
import { type PeerCertificate, TLSSocket } from 'node:tls'
import { peerOf } from '../core/address.ts'
import type { Env } from '../core/env.ts'
import { nsPerMs, second } from '../core/units.ts'
import { GuessLimit } from '../service/guess-limit.ts'
import { Denials } from '../wire/tls/denials.ts'
import { knownIdentity } from '../wire/tls/peer.ts'
import type { Tls } from '../wire/tls/tls.ts'
import type { Logins, Visitor } from './logins.ts'

/** Whose pages they are to see. */
const visitorRoles: readonly string[] = ['admin', 'observer']
/** `__Host-`: browsers take it from this host alone, by HTTPS, for all of the site. */
const cookieName = '__Host-cairn'
const cookieAttributes = 'Path=/; Secure; HttpOnly; SameSite=Strict'
/** Of an address in a minute; a browser whose login has ended brings the cookie with what was under way. */
const wrongCookiesMax = 100

export interface Refused {
  readonly code: 401 | 403 | 429
  readonly why: string
  readonly headers?: Readonly<Record<string, string>>
}

type Entry = { readonly visitor: Visitor; readonly cookie?: string } | { readonly refused: Refused }

/**
 * Asks who comes to pages that other machines reach: an admin or observer, by the certificate of TLS, or by the cookie
 * of a login. With each request, so that who is revoked sees nothing more.
 */
export class Door {
  readonly #tls: Tls
  readonly #what: string
  readonly #env: Pick<Env, 'clock' | 'log'>
  readonly #logins: Logins | undefined
  readonly #wrongCodes: GuessLimit
  readonly #wrongCookies: GuessLimit
  readonly #denials: Denials

  /** `what`: for the log. Without `logins` certificates alone let in. */
  constructor(tls: Tls, what: string, env: Pick<Env, 'clock' | 'log'>, logins?: Logins) {
    this.#tls = tls
    this.#what = what
    this.#env = env
    this.#logins = logins
    this.#wrongCodes = new GuessLimit(env.clock)
    this.#wrongCookies = new GuessLimit(env.clock, wrongCookiesMax)
    this.#denials = new Denials(env.log, () => env.clock.now())
  }

  /** Who asks, or what to answer instead. */
  enter(request: IncomingMessage): Entry {
    const socket = request.socket instanceof TLSSocket ? request.socket : undefined
    // Of a socket that is gone there is none, whatever the types say.
    const certificate = socket?.getPeerCertificate() as PeerCertificate | null | undefined
    if (socket !== undefined && certificate != null && Object.keys(certificate).length > 0) {
      const identity = socket.authorized ? knownIdentity(certificate) : undefined
      if (identity === undefined)
        return this.#denied(
          request,
          undefined,
          403,
          'the certificate is not one of this cluster, or has expired',
        )
      return this.#known(request, identity, identity.until)
    }
    const cookie = cookieOf(request)
    if (this.#logins === undefined || cookie === undefined)
      return this.#denied(
        request,
        undefined,
        401,
        'who are you? come with the certificate of an admin or observer',
      )
    const wait = this.#wrongCookies.waitMs(peerOf(request.socket))
    if (wait > 0) return { refused: tooMany(wait) }
    const visitor = this.#logins.visitor(cookie)
    if (visitor === undefined) {
      this.#wrongCookies.note(peerOf(request.socket))
      const ended = this.#denied(
        request,
        undefined,
        401,
        'this login is over: log in again with cairn console login',
      )
      return { refused: { ...ended.refused, headers: { 'set-cookie': noCookie } } }
    }
    // Until when its newest certificate is good the master knows.
    const entry = this.#known(request, visitor, 0)
    if ('refused' in entry) this.#logins.leave(cookie)
    return 'refused' in entry ? entry : { ...entry, cookie }
  }

  /** The header of a cookie for a code. */
  login(request: IncomingMessage, code: string): { readonly cookie: string } | { readonly refused: Refused } {
    const wait = this.#wrongCodes.waitMs(peerOf(request.socket))
    if (wait > 0) return { refused: tooMany(wait) }
    const entered = this.#logins?.enter(code)
    if (entered === undefined) {
      this.#wrongCodes.note(peerOf(request.socket))
      return this.#denied(
        request,
        undefined,
        403,
        'this code is not good: unknown, used, or older than two minutes',
      )
    }
    const entry = this.#known(request, entered.visitor, 0)
    if ('refused' in entry) {
      this.#logins?.leave(entered.cookie)
      return entry
    }
    const { role, name, id } = entered.visitor
    this.#env.log.info('Logged in', {
      audit: true,
      to: this.#what,
      peer: peerOf(request.socket),
      role,
      name,
      identity: id,
    })
    return { cookie: `${cookieName}=${entered.cookie}; ${cookieAttributes}` }
  }

  /** The header that ends a login. */
  logout(cookie: string | undefined): string {
    if (cookie !== undefined) this.#logins?.leave(cookie)
    return noCookie
  }

  #known(request: IncomingMessage, { role, name, id }: Visitor, until: number): Entry {
    const visitor = { role, name, id }
    const objection = this.#tls.standings.objection(
      { ...visitor, role: 'observer', until },
      Number(this.#env.clock.wall() / nsPerMs),
    )
    if (objection !== undefined)
      return this.#denied(request, visitor, 403, `the identity ${name} (${id}) is ${objection}`)
    if (!visitorRoles.includes(role))
      return this.#denied(request, visitor, 403, `the role ${role} of ${name} does not allow it`)
    return { visitor }
  }

  #denied(
    request: IncomingMessage,
    visitor: Visitor | undefined,
    code: 401 | 403,
    why: string,
  ): { readonly refused: Refused } {
    const who = visitor ?? { role: 'none', name: '', id: '' }
    this.#denials.note(this.#what, {
      ...{
        to: this.#what,
        peer: peerOf(request.socket),
        role: who.role,
        name: who.name,
        identity: who.id,
        why,
      },
    })
    return { refused: { code, why } }
  }
}

const noCookie = `${cookieName}=; ${cookieAttributes}; Max-Age=0`

const tooMany = (waitMs: number): Refused => {
  const seconds = Math.ceil(waitMs / second)
  return {
    code: 429,
    why: `too many wrong tries came from there: again in ${seconds} s`,
    headers: { 'retry-after': String(seconds) },
  }
}

function cookieOf({ headers }: IncomingMessage): string | undefined {
  for (const part of (headers.cookie ?? '').split(';')) {
    const [name = '', value = ''] = part.trim().split('=')
    if (name === cookieName && /^[A-Za-z0-9_-]{1,64}$/.test(value)) return value
  }
  return undefined
}
