/** The lock calls of sessions, and what they reclaim after a restart of the master. */
import { FsError } from '../../core/errors.ts'
import type { Ino, SessionId } from '../../core/ids.ts'
import { leaseFromWire, lockFromWire, lockToWire } from '../../wire/attr.ts'
import type { GetLock, Reclaim, SetLock } from '../../wire/gen/cairn/v1/session.ts'
import { toIno } from '../../wire/validate.ts'
import type { Turn } from '../engine/turn.ts'
import type { LeaseTable } from '../leases/lease-table.ts'
import type { Ticket } from '../locks/file-locks.ts'
import { type ListedLock, type LockCount, LockTable } from '../locks/lock-table.ts'
import type { Result } from '../namespace/context.ts'
import type { Session } from './session-registry.ts'

export interface GrantedLock {
  readonly session: SessionId
  readonly call: bigint
}

/** Counting looks at all locks. */
const recountMs = 1000

const done: Result = { $case: 'done', value: {} }

const ticketOf = (session: Session, call: bigint): Ticket => `${session.id}/${call}`

interface Count {
  most: number
  countedMs: number
}

export class LockCalls {
  readonly #turn: Turn
  readonly #leases: LeaseTable
  readonly #table: LockTable
  readonly #waiting = new Map<Ticket, GrantedLock>()
  #granted: GrantedLock[] = []
  /** Locks that a session has at most, and when they were counted last. */
  readonly #counts = new Map<SessionId, Count>()
  /** The same of all sessions of an identity. */
  readonly #identityCounts = new Map<string, Count>()
  readonly #identityOf: (session: SessionId) => string | undefined
  /** Called when a session has reclaimed all that it held. */
  readonly #reclaimed: (session: Session) => void
  /** Called when several sessions rely on leases of it that contradict each other. */
  readonly #disputed: (ino: Ino) => void

  constructor(
    turn: Turn,
    leases: LeaseTable,
    reclaimed: (session: Session) => void,
    disputed: (ino: Ino) => void,
    identityOf: (session: SessionId) => string | undefined = () => undefined,
  ) {
    this.#identityOf = identityOf
    this.#turn = turn
    this.#table = new LockTable(() => turn.now)
    this.#leases = leases
    this.#reclaimed = reclaimed
    this.#disputed = disputed
  }

  /** What is held and waited for, of one inode or all. */
  all(ino: Ino | undefined): Iterable<ListedLock> {
    return this.#table.all(ino)
  }

  /** How many locks sessions hold and wait for. */
  countBySession(): Map<SessionId, LockCount> {
    return this.#table.countBySession()
  }

  waits(session: Session, call: bigint): boolean {
    return this.#waiting.has(ticketOf(session, call))
  }

  get(session: Session, wire: GetLock): Result {
    const { range, holder } = lockFromWire(wire.lock)
    const found = this.#table.test(toIno(wire.ino), { session: session.id, ...holder }, range)
    if (found === undefined) return { $case: 'lock', value: { lock: undefined, session: 0n } }
    const lock = lockToWire(found.range, { owner: found.owner, flock: holder.flock })
    return { $case: 'lock', value: { lock, session: found.session } }
  }

  set(session: Session, call: bigint, wire: SetLock): Result | 'waits' {
    const ino = toIno(wire.ino)
    const { range, holder } = lockFromWire(wire.lock)
    const ticket = ticketOf(session, call)
    const granted: Ticket[] = []
    const who = { session: session.id, ...holder }
    if (range.kind !== 'unlock') this.#checkRoom(session)
    const outcome = this.#table.set(ino, who, range, wire.wait ? ticket : undefined, granted)
    this.#note(granted)
    switch (outcome) {
      case 'done':
        return done
      case 'waits':
        this.#waiting.set(ticket, { session: session.id, call })
        return 'waits'
      case 'conflict':
        throw new FsError('EAGAIN', 'Another owner holds a lock on the range')
      case 'deadlock':
        throw new FsError('EDEADLK', 'Waiting for the lock would close a circle')
    }
  }

  /** What it gave back is not counted as it goes: who seems to have too many is counted exactly, once in a while. */
  #checkRoom({ id, row }: Session): void {
    const { settings } = this.#turn
    const own = this.#counted(this.#counts, id, settings.locksPerSession, other => other === id)
    if (own.most >= settings.locksPerSession)
      throw new FsError('ENOLCK', `The mount has ${own.most} locks, and may have no more`)
    if (row.identity !== '') {
      const isOf = (other: SessionId): boolean => this.#identityOf(other) === row.identity
      const all = this.#counted(this.#identityCounts, row.identity, settings.locksPerIdentity, isOf)
      if (all.most >= settings.locksPerIdentity)
        throw new FsError('ENOLCK', `The mounts of the identity have ${all.most} locks, and may have no more`)
      all.most++
    }
    own.most++
  }

  #counted<Key>(counts: Map<Key, Count>, key: Key, limit: number, isOf: (id: SessionId) => boolean): Count {
    const { now } = this.#turn
    const known = counts.get(key) ?? { most: 0, countedMs: Number.NEGATIVE_INFINITY }
    counts.set(key, known)
    if (known.most < limit || now - known.countedMs < recountMs) return known
    known.most = 0
    for (const [id, { held, waiting }] of this.#table.countBySession())
      if (isOf(id)) known.most += held + waiting
    known.countedMs = now
    return known
  }

  /** False if no such call waits for a lock. */
  cancel(session: Session, call: bigint): boolean {
    const ticket = ticketOf(session, call)
    if (!this.#waiting.delete(ticket)) return false
    const granted: Ticket[] = []
    this.#table.cancel(ticket, granted)
    this.#note(granted)
    return true
  }

  /** Lets those through who have let others go first for long enough. */
  tick(): void {
    const granted: Ticket[] = []
    this.#table.tick(granted)
    this.#note(granted)
  }

  reclaim(session: Session, wire: Reclaim): Result {
    for (const { ino, kind, open, writing } of wire.leases) {
      const lease = leaseFromWire(kind, 'reclaim.leases.kind')
      if (this.#leases.reclaim(toIno(ino), session.id, lease, open, writing)) continue
      this.#turn.out.log('warn', 'a reclaimed lease contradicts others: all are recalled', {
        session: session.id,
        ino,
      })
      this.#disputed(toIno(ino))
    }
    for (const { ino, lock } of wire.locks) {
      const { range, holder } = lockFromWire(lock)
      const granted: Ticket[] = []
      const who = { session: session.id, ...holder }
      if (this.#table.set(toIno(ino), who, range, undefined, granted) !== 'done')
        this.#turn.out.log('warn', 'lock cannot be reclaimed', { session: session.id, ino })
      this.#note(granted)
    }
    if (wire.last) this.#reclaimed(session)
    return done
  }

  sessionEnded(session: Session): void {
    this.#counts.delete(session.id)
    for (const [ticket, { session: id }] of this.#waiting) if (id === session.id) this.#waiting.delete(ticket)
    this.#note(this.#table.releaseSession(session.id))
  }

  /** Waiting calls that have their lock now; empties the list. */
  takeGranted(): GrantedLock[] {
    const granted = this.#granted
    this.#granted = []
    return granted
  }

  #note(tickets: readonly Ticket[]): void {
    for (const ticket of tickets) {
      const waiting = this.#waiting.get(ticket)
      this.#waiting.delete(ticket)
      if (waiting !== undefined) this.#granted.push(waiting)
    }
  }
}
