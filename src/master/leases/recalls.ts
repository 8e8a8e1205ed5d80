/**
 * Recalls under way. Each asks one session to go down to a weaker lease on one inode; at most one is
 * under way for a session and inode, and what it does not settle is asked again after it. They
 * survive a lost connection and are sent again when the session resumes.
 */
import type { Ino, SessionId } from '../../core/ids.ts'
import { type Lease, leaseToWire } from '../../wire/attr.ts'
import type { Turn } from '../engine/turn.ts'
import type { Session } from '../sessions/session-registry.ts'

/** plain; the last name goes; another session opens the inode for writing (session.proto). */
export type RecallReason = 'plain' | 'removing' | 'sharing'

export interface RecallUnderWay {
  readonly id: bigint
  readonly session: Session
  readonly ino: Ino
  readonly to: Lease
  readonly why: RecallReason
  /** Its holder stores what must be stored before it answers. */
  storing: boolean
  /** When it was first sent, or its holder last made progress. */
  sinceMs: number
}

export class Recalls {
  readonly #turn: Turn
  readonly #bySession = new Map<SessionId, Map<Ino, RecallUnderWay>>()
  #nextId = 1n

  constructor(turn: Turn) {
    this.#turn = turn
  }

  isUnderWay(session: SessionId, ino: Ino): boolean {
    return this.#bySession.get(session)?.has(ino) ?? false
  }

  /** Whether anything is being asked of the session. */
  isAnyUnderWay(session: SessionId): boolean {
    return (this.#bySession.get(session)?.size ?? 0) > 0
  }

  /** For how long it has been asked without progress; undefined if it is not. */
  underWayMs(session: SessionId, ino: Ino): number | undefined {
    const recall = this.#bySession.get(session)?.get(ino)
    return recall === undefined ? undefined : this.#turn.now - recall.sinceMs
  }

  /** Asks, unless something is being asked of the same session and inode already: then false. */
  ask(session: Session, ino: Ino, to: Lease, why: RecallReason): boolean {
    let recalls = this.#bySession.get(session.id)
    if (recalls === undefined) {
      recalls = new Map()
      this.#bySession.set(session.id, recalls)
    }
    if (recalls.has(ino)) return false
    const recall = { id: this.#nextId++, session, ino, to, why, storing: false, sinceMs: this.#turn.now }
    recalls.set(ino, recall)
    this.#send(recall)
    return true
  }

  /** The holder answered. Undefined if nobody asked (or an older recall, before a resume, was meant). */
  answered(session: Session, ino: Ino, id: bigint): RecallUnderWay | undefined {
    const recalls = this.#bySession.get(session.id)
    const recall = recalls?.get(ino)
    if (recalls === undefined || recall?.id !== id) return undefined
    recalls.delete(ino)
    return recall
  }

  /** The holder says that it stores. False if it was not asked for anything. */
  stores(session: Session, ino: Ino): boolean {
    const recall = this.#bySession.get(session.id)?.get(ino)
    if (recall !== undefined) recall.storing = true
    return recall !== undefined
  }

  isStoring(session: SessionId, ino: Ino): boolean {
    return this.#bySession.get(session)?.get(ino)?.storing ?? false
  }

  /** The holder is at work on the inode: its time begins anew. */
  progress(session: Session, ino: Ino): void {
    const recall = this.#bySession.get(session.id)?.get(ino)
    if (recall !== undefined) recall.sinceMs = this.#turn.now
  }

  /** The session came back on a new connection. */
  resend(session: Session): void {
    for (const recall of this.#bySession.get(session.id)?.values() ?? []) this.#send(recall)
  }

  releaseSession(session: SessionId): void {
    this.#bySession.delete(session)
  }

  /**
   * Recalls without progress for longer than the lease time. `waits`: a change of the holder's own to the inode waits for
   * others. Its kernel may keep pages until that is answered, so it has their time, too.
   */
  overdue(waits: (session: Session, ino: Ino) => boolean): RecallUnderWay[] {
    const { now, settings } = this.#turn
    const found: RecallUnderWay[] = []
    for (const recalls of this.#bySession.values())
      for (const recall of recalls.values()) {
        const overdueMs = now - recall.sinceMs - settings.leaseMs
        if (overdueMs > settings.leaseMs || (overdueMs > 0 && !waits(recall.session, recall.ino)))
          found.push(recall)
      }
    return found
  }

  #send({ id, session, ino, to, why }: RecallUnderWay): void {
    if (session.connection === undefined) return
    this.#turn.out.session(session.connection, {
      $case: 'recall',
      value: { id, ino, to: leaseToWire(to), removing: why === 'removing', sharing: why === 'sharing' },
    })
  }
}
