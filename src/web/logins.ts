import { createHash } from 'node:crypto'
import type { Clock, Random } from '../core/env.ts'
import { hour, minute } from '../core/units.ts'

/** Who looks at pages. */
export interface Visitor {
  readonly role: string
  readonly name: string
  readonly id: string
}

/** Between the command that asks for a code and the browser that brings it. */
export const codeMs = 2 * minute
/** A working day: who still looks logs in again. */
export const loginMs = 8 * hour
const secretBytes = 32
/** Of one identity; of more the oldest goes. */
const codesMax = 8
const loginsMax = 32

interface Kept {
  readonly visitor: Visitor
  readonly untilMs: number
}

/**
 * Who is logged in to the console with a browser:
 *
 *   cairn console login ──► code, good once ──► the browser brings it ──► login, which its cookie names, for a while
 *
 * Codes and cookies are known by their hashes only, and in memory only: a master that starts anew knows nobody.
 * Whether an identity is still good is asked with each request, not here.
 */
export class Logins {
  readonly #clock: Clock
  readonly #random: Random
  readonly #codes = new Map<string, Kept>()
  readonly #logins = new Map<string, Kept>()

  constructor({ clock, random }: { readonly clock: Clock; readonly random: Random }) {
    this.#clock = clock
    this.#random = random
  }

  /** A secret that lets a browser in once, as this visitor. */
  code(visitor: Visitor): string {
    return this.#keep(this.#codes, visitor, codeMs, codesMax)
  }

  /** A cookie for a code, which is used up; undefined: the code is not good. */
  enter(code: string): { readonly cookie: string; readonly visitor: Visitor } | undefined {
    const visitor = this.#find(this.#codes, code)
    if (visitor === undefined) return undefined
    this.#codes.delete(hashOf(code))
    return { cookie: this.#keep(this.#logins, visitor, loginMs, loginsMax), visitor }
  }

  /** Whose cookie it is; undefined: nobody's, or not any more. */
  visitor(cookie: string): Visitor | undefined {
    return this.#find(this.#logins, cookie)
  }

  leave(cookie: string): void {
    this.#logins.delete(hashOf(cookie))
  }

  #keep(where: Map<string, Kept>, visitor: Visitor, lastsMs: number, most: number): string {
    const now = this.#clock.now()
    for (const [hash, { untilMs }] of where) if (untilMs <= now) where.delete(hash)
    const own = [...where].filter(([, kept]) => kept.visitor.id === visitor.id)
    for (const [hash] of own.slice(0, Math.max(0, own.length - most + 1))) where.delete(hash)
    const secret = this.#random.bytes(secretBytes).toString('base64url')
    where.set(hashOf(secret), { visitor, untilMs: now + lastsMs })
    return secret
  }

  #find(where: ReadonlyMap<string, Kept>, secret: string): Visitor | undefined {
    const kept = where.get(hashOf(secret))
    return kept === undefined || kept.untilMs <= this.#clock.now() ? undefined : kept.visitor
  }
}

/** Looked up by the hash: how long that takes tells nothing of the secret. */
const hashOf = (secret: string): string => createHash('sha256').update(secret).digest('base64')
