/**
 * How fast mounts of an export may ask, and write. Calls beyond it wait here, in the order in which each session sent them and
 * in turn between sessions; nothing fails. What was too much is paid back: the buckets go below zero.
 *
 * Written bytes are counted where places for blocks are asked for, without which no chunkserver takes one. A session that is
 * asked for a lease does not wait, since others do for it.
 */
import { FsError } from '../../core/errors.ts'
import type { SessionId } from '../../core/ids.ts'
import { MiB, second } from '../../core/units.ts'
import { Call, type Plan, type PlanReply } from '../../wire/gen/cairn/v1/session.ts'
import type { Turn } from '../engine/turn.ts'
import type { Session } from '../sessions/session-registry.ts'
import type { ExportRow } from '../store/exports.ts'

/** What of a session waits at most: a mount of ours has fewer calls under way, and those are short. */
const heldMax = 20_000
const heldBytesMax = 32 * MiB
/** Nobody is looked after more often. */
const wakeMsMin = 5

class Bucket {
  #left: number
  #atMs: number

  /** Full: what may be done in a second. */
  constructor(perSecond: number, nowMs: number) {
    this.#left = perSecond
    this.#atMs = nowMs
  }

  /** Until something may be done; 0: now. */
  waitMs(perSecond: number, nowMs: number): number {
    this.#left = Math.min(perSecond, this.#left + ((nowMs - this.#atMs) * perSecond) / second)
    this.#atMs = nowMs
    return this.#left > 0 ? 0 : Math.max(1, (-this.#left * second) / perSecond)
  }

  take(count: number): void {
    this.#left -= count
  }
}

interface Held {
  readonly session: Session
  readonly calls: { readonly call: Call; readonly bytes: number }[]
  bytes: number
}

/** Calls of sessions, in turn. */
class Line {
  readonly #bySession = new Map<SessionId, Held>()

  has(session: Session): boolean {
    return this.#bySession.has(session.id)
  }

  get isEmpty(): boolean {
    return this.#bySession.size === 0
  }

  add(session: Session, call: Call): void {
    const held = this.#bySession.get(session.id) ?? { session, calls: [], bytes: 0 }
    const bytes = Call.encode(call).finish().length
    if (held.calls.length >= heldMax || held.bytes + bytes > heldBytesMax)
      throw new FsError('EDQUOT', `Too many calls of session ${session.id} wait for the rate of its export`)
    held.calls.push({ call, bytes })
    held.bytes += bytes
    this.#bySession.set(session.id, held)
  }

  /** The next one; with `wanted` only of such a session. */
  take(wanted: (session: Session) => boolean): { session: Session; call: Call } | undefined {
    for (const [id, held] of this.#bySession) {
      if (!wanted(held.session)) continue
      const first = held.calls.shift()
      held.bytes -= first?.bytes ?? 0
      this.#bySession.delete(id)
      if (held.calls.length > 0) this.#bySession.set(id, held)
      if (first !== undefined) return { session: held.session, call: first.call }
    }
    return undefined
  }

  remove(session: Session): void {
    this.#bySession.delete(session.id)
  }

  cancel(session: Session, id: bigint): Call | undefined {
    const held = this.#bySession.get(session.id)
    if (held === undefined) return undefined
    const at = held.calls.findIndex(({ call }) => call.id === id)
    const [found] = at === -1 ? [] : held.calls.splice(at, 1)
    held.bytes -= found?.bytes ?? 0
    if (held.calls.length === 0) this.#bySession.delete(session.id)
    return found?.call
  }
}

interface Limited {
  readonly calls: Bucket
  readonly bytes: Bucket
  /** All that is beyond the rate of calls, and plans that are beyond that of bytes. */
  readonly waiting: Line
  readonly plans: Line
}

export class Rates {
  readonly #turn: Turn
  readonly #isAsked: (session: Session) => boolean
  readonly #byExport = new Map<string, Limited>()

  /** `isAsked`: a lease of the session is being recalled. */
  constructor(turn: Turn, isAsked: (session: Session) => boolean) {
    this.#turn = turn
    this.#isAsked = isAsked
  }

  /** Whether the call may be executed now; else it comes from `next`. */
  admits(session: Session, call: Call): boolean {
    const rules = this.#rulesOf(session)
    if (rules === undefined) return true
    const limited = this.#limited(rules)
    if (limited.waiting.has(session) || this.#callsWaitMs(rules, limited) > 0) {
      limited.waiting.add(session, call)
      return false
    }
    return this.#passes(rules, limited, session, call)
  }

  /** A call that waited, and may be executed now. */
  next(): { readonly session: Session; readonly call: Call } | undefined {
    for (const [name, limited] of this.#byExport) {
      const { waiting, plans } = limited
      if (waiting.isEmpty && plans.isEmpty) continue
      const rules = this.#turn.store.exports.find(name)
      const anybody = (): boolean => true
      const hurried = rules === undefined ? anybody : this.#isAsked
      const freely = rules === undefined || this.#bytesWaitMs(rules, limited) === 0
      const plan = plans.take(freely ? anybody : hurried)
      if (plan !== undefined) return plan
      for (;;) {
        const now = rules === undefined || this.#callsWaitMs(rules, limited) === 0
        const found = waiting.take(now ? anybody : hurried)
        if (found === undefined) break
        if (rules === undefined || this.#passes(rules, limited, found.session, found.call)) return found
      }
    }
    return undefined
  }

  /** Places for blocks were given. */
  planned(session: Session, asked: Plan, reply: PlanReply): void {
    const rules = this.#rulesOf(session)
    if (rules === undefined) return
    const bytes = reply.blocks.reduce(
      (sum, { key }, index) => (key === 0n ? sum + (asked.blocks[index]?.length ?? 0) : sum),
      0,
    )
    this.#limited(rules).bytes.take(bytes)
  }

  /** What waits for the session is sent again, or is over. */
  forget(session: Session): void {
    const limited = this.#byExport.get(session.row.export)
    limited?.waiting.remove(session)
    limited?.plans.remove(session)
  }

  /** Gives up a call that waits: it, or undefined if none does. */
  cancel(session: Session, id: bigint): Call | undefined {
    const limited = this.#byExport.get(session.row.export)
    return limited?.waiting.cancel(session, id) ?? limited?.plans.cancel(session, id)
  }

  /** When to look again. */
  get wakeMs(): number {
    let wakeMs = Number.POSITIVE_INFINITY
    for (const [name, limited] of this.#byExport) {
      const rules = this.#turn.store.exports.find(name)
      if (rules === undefined) this.#byExport.delete(name)
      if (rules === undefined || (limited.waiting.isEmpty && limited.plans.isEmpty)) continue
      const calls = limited.waiting.isEmpty ? wakeMs : this.#callsWaitMs(rules, limited)
      const bytes = limited.plans.isEmpty ? wakeMs : this.#bytesWaitMs(rules, limited)
      wakeMs = Math.max(wakeMsMin, Math.min(wakeMs, calls, bytes))
    }
    return wakeMs
  }

  /** Undefined: no limits. */
  #rulesOf(session: Session): ExportRow | undefined {
    const rules = this.#turn.store.exports.find(session.row.export)
    return rules === undefined || (rules.callsPerSecond === 0 && rules.bytesPerSecond === 0)
      ? undefined
      : rules
  }

  #limited({ name, callsPerSecond, bytesPerSecond }: ExportRow): Limited {
    let limited = this.#byExport.get(name)
    if (limited === undefined) {
      const { now } = this.#turn
      const [calls, bytes] = [new Bucket(callsPerSecond, now), new Bucket(bytesPerSecond, now)]
      this.#byExport.set(name, (limited = { calls, bytes, waiting: new Line(), plans: new Line() }))
    }
    return limited
  }

  #passes(rules: ExportRow, limited: Limited, session: Session, call: Call): boolean {
    limited.calls.take(1)
    if (call.op?.$case !== 'plan') return true
    if (this.#isAsked(session) || this.#bytesWaitMs(rules, limited) === 0) return true
    limited.plans.add(session, call)
    return false
  }

  #callsWaitMs({ callsPerSecond }: ExportRow, { calls }: Limited): number {
    return callsPerSecond === 0 ? 0 : calls.waitMs(callsPerSecond, this.#turn.now)
  }

  #bytesWaitMs({ bytesPerSecond }: ExportRow, { bytes }: Limited): number {
    return bytesPerSecond === 0 ? 0 : bytes.waitMs(bytesPerSecond, this.#turn.now)
  }
}
