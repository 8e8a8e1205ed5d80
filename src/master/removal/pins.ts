/**
 * Blocks that a session was told to exist, and so may commit by key: a pinned condemned block is not
 * deleted. In memory only, since a client whose pin is gone is told to put the block again.
 *
 * A pin holds for one to two periods: two sets, of which the older is dropped when a period ends.
 */
import type { BlockKey, SessionId } from '../../core/ids.ts'

interface SessionPins {
  young: Set<BlockKey>
  old: Set<BlockKey>
}

export class Pins {
  readonly #periodMs: number
  readonly #bySession = new Map<SessionId, SessionPins>()
  #periodBeganMs = Number.NEGATIVE_INFINITY

  constructor(periodMs: number) {
    this.#periodMs = periodMs
  }

  pin(session: SessionId, key: BlockKey): void {
    let pins = this.#bySession.get(session)
    if (pins === undefined) {
      pins = { young: new Set(), old: new Set() }
      this.#bySession.set(session, pins)
    }
    pins.young.add(key)
  }

  holds(session: SessionId, key: BlockKey): boolean {
    const pins = this.#bySession.get(session)
    return pins !== undefined && (pins.young.has(key) || pins.old.has(key))
  }

  isPinned(key: BlockKey): boolean {
    for (const session of this.#bySession.keys()) if (this.holds(session, key)) return true
    return false
  }

  releaseSession(session: SessionId): void {
    this.#bySession.delete(session)
  }

  tick(nowMs: number): void {
    if (nowMs - this.#periodBeganMs < this.#periodMs) return
    this.#periodBeganMs = nowMs
    for (const pins of this.#bySession.values()) {
      pins.old = pins.young
      pins.young = new Set()
    }
  }
}
