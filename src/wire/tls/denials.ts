import type { Log } from '../../core/env.ts'
import { minute } from '../../core/units.ts'

const againMs = 1 * minute
const deniedMax = 1000

export interface Denial {
  readonly identity: string
  readonly why: string
  readonly [field: string]: unknown
}

/** The audit log of what was refused. Who is denied may try again and again: that is told once a minute, with how often. */
export class Denials {
  readonly #log: Log
  readonly #now: () => number
  readonly #known = new Map<string, { readonly told: number; since: number }>()

  /** `now`: ms of any clock that does not go back. */
  constructor(log: Log, now: () => number) {
    this.#log = log
    this.#now = now
  }

  /** `what` was tried: a method, a page. */
  note(what: string, denial: Denial): void {
    const key = `${what} ${denial.identity} ${denial.why}`
    const now = this.#now()
    const before = this.#known.get(key)
    if (before !== undefined && now - before.told < againMs) {
      before.since += 1
      return
    }
    if (this.#known.size >= deniedMax) this.#known.clear()
    this.#known.set(key, { told: now, since: 0 })
    const again = before === undefined || before.since === 0 ? {} : { before: before.since }
    this.#log.warn('Denied', { audit: true, ...denial, ...again })
  }
}
