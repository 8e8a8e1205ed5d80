/**
 * How sessions end: by their mount's word, by silence, by leases that they do not give back, by an operator or by the
 * rules of exports; and what goes with them. After a start of the master there is a grace period, in which those that
 * the database knows say what they held.
 */
import { FsError } from '../../core/errors.ts'
import type { EndSession } from '../../wire/gen/cairn/v1/session.ts'
import type { TokenExports } from '../exports/choose-export.ts'
import type { LeaseTable } from '../leases/lease-table.ts'
import type { Recalls } from '../leases/recalls.ts'
import { stepOrphansOf } from '../namespace/lifetime.ts'
import type { NodeRegistry } from '../nodes/node-registry.ts'
import type { Pins } from '../removal/pins.ts'
import type { Calls } from '../sessions/calls.ts'
import type { LockCalls } from '../sessions/lock-calls.ts'
import type { Session, SessionRegistry } from '../sessions/session-registry.ts'
import type { Turn } from './turn.ts'

export interface SessionLifeParts {
  readonly turn: Turn
  readonly sessions: SessionRegistry
  readonly calls: Calls
  readonly leases: LeaseTable
  readonly recalls: Recalls
  readonly locks: LockCalls
  readonly pins: Pins
  readonly nodes: NodeRegistry
  /** The connection has been closed: nothing of it is heard any more. */
  readonly closed: (connection: number) => void
  /** The same for one whose session is gone already. */
  readonly forgotten: (connection: number) => void
}

export class SessionLife {
  readonly #parts: SessionLifeParts
  readonly #turn: Turn
  readonly #sessions: SessionRegistry
  /** Sessions that ended and still have orphans. */
  readonly #dying = new Set<Session['id']>()
  /** Until then sessions of the database may reclaim; undefined when none is left to. */
  #graceUntilMs: number | undefined
  /** Sessions of which frames wait for a later step. */
  readonly #unheard = new Set<Session>()

  constructor(parts: SessionLifeParts) {
    const { turn, sessions } = parts
    this.#parts = parts
    this.#turn = turn
    this.#sessions = sessions
    const { leaseMs, leaseMarginMs } = turn.settings
    if (sessions.size > 0) this.#graceUntilMs = turn.now + leaseMs + leaseMarginMs
    for (const { session } of turn.store.orphans.all())
      if (sessions.find(session) === undefined) this.#dying.add(session)
  }

  /** Mounts have yet to say what they held before the restart. */
  get isGracePeriod(): boolean {
    return this.#graceUntilMs !== undefined
  }

  /** Whose frames wait for others' is not silent; and what it answered may be among them. */
  noteWaiting(connections: readonly number[]): void {
    this.#unheard.clear()
    for (const connection of connections) {
      const session = this.#sessions.ofConnection(connection)
      if (session === undefined) continue
      session.heardMs = this.#turn.now
      this.#unheard.add(session)
    }
  }

  reclaimed(session: Session): void {
    session.reclaiming = false
    this.#turn.out.log('info', 'mount reclaimed its leases', { session: session.id })
    this.#checkGrace()
  }

  /** Ends a session: `why` is told to it, if it is connected; undefined when it said goodbye itself. */
  end(session: Session, why: string | undefined, gone = why === undefined): void {
    const { calls, leases, locks, nodes, pins, recalls, forgotten } = this.#parts
    this.#turn.out.log(why === undefined ? 'info' : 'warn', 'mount ended', {
      session: session.id,
      host: session.row.host,
      mountpoint: session.row.mountpoint,
      reason: why ?? 'unmounted',
    })
    if (why !== undefined && session.connection !== undefined) {
      this.#sessions.refuse(session.connection, new FsError('ESTALE', why), true)
      forgotten(session.connection)
    }
    this.#sessions.remove(session)
    if (!gone) this.#sessions.noteStranger()
    nodes.fence(session.id)
    calls.forget(session)
    recalls.releaseSession(session.id)
    pins.releaseSession(session.id)
    locks.sessionEnded(session)
    if (leases.countOf(session.id) > 0) {
      leases.releaseSession(session.id)
      calls.retryAll()
    }
    this.#dying.add(session.id)
    this.#checkGrace()
  }

  /** The process of a session is no more, as another one proves. */
  died(by: Session, who: EndSession): void {
    const dead = this.#sessions.proven(by, who)
    if (dead === undefined) return
    // Of one that was to end, its mount says so: it knows, and believes nothing of it any more, but goes on.
    if (dead.condemned !== undefined) this.end(dead, dead.condemned)
    else this.end(dead, 'Its process has died', true)
  }

  /** Only the identities that are `good` may go on, each with the exports that its token names. */
  identitiesChanged(good: ReadonlySet<string>, exports: TokenExports): void {
    for (const session of this.#sessions.ofOthersThan(good))
      this.end(session, 'Its identity is not good any more')
    this.#sessions.noteTokens(exports)
    this.#endOfOtherExports()
  }

  /** The rules are other ones, which count at once; who is connected is to attach anew, and is told of them then. */
  exportChanged(name: string): void {
    this.#endOfOtherExports()
    for (const { row, connection } of [...this.#sessions.all()]) {
      if (row.export !== name || connection === undefined) continue
      this.#turn.out.close(connection, new FsError('ECANCELED', 'The rules of the export have changed'))
      this.#parts.closed(connection)
    }
  }

  /** Who may not mount any more what it shows has nothing of it from now on. */
  #endOfOtherExports(): void {
    for (const session of this.#sessions.ofOtherExports())
      this.end(session, 'Its identity may not mount this any more')
  }

  #checkGrace(): void {
    if (this.#graceUntilMs === undefined) return
    for (const session of this.#sessions.all())
      if (session.reclaiming) {
        // With one left to reclaim, its own calls may run.
        this.#parts.calls.retryAll()
        return
      }
    this.#graceUntilMs = undefined
    this.#parts.calls.retryAll()
    this.#turn.out.log('info', 'the grace period is over')
  }

  /** Ends a session when its lease has run out: until then its mount may believe what others are about to change. */
  #condemn(session: Session, why: string): void {
    if (session.condemned !== undefined) return
    session.condemned = why
    const { connection } = session
    if (connection === undefined) return
    // Heartbeats may have been answered until now.
    session.heardMs = this.#turn.now
    this.#sessions.refuse(connection, new FsError('ESTALE', why), true)
    this.#parts.closed(connection)
  }

  /** Ends those that are silent, that keep what they are to give back, and that do not say what they held. */
  expire(): void {
    const { now, settings } = this.#turn
    const { leaseMs } = settings
    const { calls, recalls } = this.#parts
    for (const session of this.#sessions.expired())
      this.end(session, session.condemned ?? 'The mount was silent for too long')
    const overdue = recalls.overdue(
      (session, ino) => this.#unheard.has(session) || calls.changeWaits(session, ino),
    )
    for (const { session, ino } of overdue)
      if (this.#sessions.find(session.id) !== undefined)
        this.#condemn(session, `The mount did not give back its lease on inode ${ino}`)
    if (this.#graceUntilMs !== undefined && now >= this.#graceUntilMs)
      for (const session of [...this.#sessions.all()])
        if (session.reclaiming && (!this.#unheard.has(session) || now >= this.#graceUntilMs + leaseMs))
          this.end(session, 'The mount did not reclaim its leases in time')
  }

  /** Files without a name that ended sessions had open go, about `budget` rows. True if there is more to do now. */
  stepOrphans(budget: number): boolean {
    for (const session of this.#dying) {
      if (stepOrphansOf(this.#turn.store, session, budget, this.#turn.time)) return true
      this.#dying.delete(session)
    }
    return false
  }
}
