/**
 * Lines about requests between daemons that were slow, or failed though nobody asked for what cannot be: each daemon that
 * a request passes tells of it under one id, so that it can be followed. The id is what is on the wire anyway:
 * the session, and the number of the call in it.
 */
import { second } from './units.ts'

/** What a program waits for longer than this is slow, unless it is said otherwise. */
export const slowMsDefault = 1 * second
/** Of what a program waits for, a request that took this part of it is worth a line. */
const share = 1 / 4
/** So many lines in that time at most: where everything is slow, a few say it. */
const linesMax = 50
const spanMs = 10 * second
/** Requests that are remembered for the line about what a program waited for. */
const recentMax = 200

/** Failures that are no answer to a question. */
const faults = new Set(['EIO', 'EPROTO', 'ETIMEDOUT', 'EPIPE', 'ECONNRESET'])

type Fields = Readonly<Record<string, string | number | bigint | boolean>>
/** Writes a warning. */
type Warn = (message: string, fields: Fields) => void

export interface Noted {
  readonly operation: string
  /** As `callId` or `blockCallId` has it. */
  readonly request: string
  readonly ms: number
  readonly failure?: string | undefined
}

export const callId = (session: bigint, call: bigint): string => `${session}-${call}`
/** Of a stream of blocks. */
export const blockCallId = (session: bigint, call: bigint): string => `${session}-b${call}`

export class RequestLog {
  readonly #warn: Warn
  readonly #now: () => number
  readonly #slowMs: number
  #recent: { readonly request: string; readonly operation: string; readonly ended: number }[] = []
  #spanFrom = Number.NEGATIVE_INFINITY
  #lines = 0
  #leftOut = 0

  constructor(warn: Warn, now: () => number, slowMs: number) {
    this.#warn = warn
    this.#now = now
    this.#slowMs = slowMs
  }

  /** Whether a request that took so long, or failed so, is worth a line: most are not, and nothing is made for them. */
  cares(ms: number, failure: string | undefined): boolean {
    return ms >= this.#slowMs * share || (failure !== undefined && faults.has(failure))
  }

  /** A request to another daemon, or of one, has ended. `fields`: what else helps to find out why. */
  request({ operation, request, ms, failure }: Noted, fields: Fields = {}): void {
    if (!this.cares(ms, failure)) return
    const faulty = failure !== undefined && faults.has(failure)
    this.#recent.push({ request, operation, ended: this.#now() })
    if (this.#recent.length > recentMax) this.#recent = this.#recent.slice(-recentMax / 2)
    this.#say(faulty ? 'A request failed' : 'A request was slow', {
      ...{ request, operation, ms: Math.round(ms) },
      ...failed(failure),
      ...fields,
    })
  }

  /** A program has waited for something: named with the requests that were worth a line, and ended meanwhile. */
  waited(operation: string, ms: number, failure: string | undefined, ino: bigint): void {
    if (ms < this.#slowMs && failure !== 'EIO') return
    const began = this.#now() - ms
    const requests = this.#recent
      .filter(({ ended }) => ended >= began)
      .map(each => `${each.request} ${each.operation}`)
    this.#say(failure === 'EIO' ? 'A program got an error' : 'A program waited', {
      ...{ operation, ms: Math.round(ms) },
      ...failed(failure),
      ino,
      requests: requests.join(', '),
    })
  }

  #say(message: string, fields: Fields): void {
    const now = this.#now()
    if (now - this.#spanFrom > spanMs) {
      this.#spanFrom = now
      this.#lines = 0
    }
    // Who wants to see everything sees everything.
    if (++this.#lines > linesMax && this.#slowMs > 0) {
      this.#leftOut++
      return
    }
    this.#warn(message, this.#leftOut === 0 ? fields : { ...fields, leftOut: this.#leftOut })
    this.#leftOut = 0
  }
}

const failed = (failure: string | undefined): Fields => (failure === undefined ? {} : { failure })
