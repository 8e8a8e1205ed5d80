/**
 * The cluster's file locks: fcntl(2) byte ranges and flock(2) whole files, which do not see each
 * other. Lives in memory only: after a restart of the master the sessions reclaim what they held.
 *
 * As in Linux, a request that may not wait is measured against the locks that are held, not against those
 * that wait, since F_SETLK must not fail where no lock is in the way. Other than in Linux, a request that
 * may wait lets those go first who came before it and whom it would keep out, so that a stream of readers
 * does not starve a writer; but not an owner of locks on the same file, for whom the other may be waiting,
 * and for two seconds at most, since the one before may wait for the one behind by ways that are not
 * locks: nobody waits for ever here who would not in Linux.
 *
 * Waits of byte-range locks that would close a circle are refused (EDEADLK); flock(2) has no such check.
 */
import { must } from '../../core/assert.ts'
import type { LockRange } from '../../core/attr.ts'
import type { Ino, SessionId } from '../../core/ids.ts'
import type { LockChange } from '../../core/lock-ranges.ts'
import { second } from '../../core/units.ts'
import {
  FileLocks,
  type Freed,
  type LockOwner,
  type OwnerKey,
  type Ticket,
  type Waiting,
} from './file-locks.ts'

/** A lock that is in somebody's way. */
export interface LockInTheWay {
  readonly session: SessionId
  readonly owner: bigint
  readonly range: LockRange
}

export interface ListedLock {
  readonly ino: Ino
  readonly who: LockOwner
  readonly range: LockRange
  /** When it began to wait; undefined if it is held. */
  readonly sinceMs: number | undefined
}

export interface LockCount {
  readonly held: number
  readonly waiting: number
}

export type LockOutcome = 'done' | 'waits' | 'conflict' | 'deadlock'

/** How long a request lets those before it go first. */
const patienceMs = 2 * second
/** Locks that the search for a circle looks at; a longer one is not found. Linux follows ten waits. */
const circleMax = 10_000

const keyOf = (who: LockOwner): OwnerKey =>
  `${who.flock ? 'f' : 'p'}${who.session.toString(36)}/${who.owner.toString(36)}`

export class LockTable {
  readonly #posix = new Map<Ino, FileLocks>()
  readonly #flock = new Map<Ino, FileLocks>()
  readonly #waiting = new Map<Ticket, { readonly ino: Ino; readonly waiting: Waiting }>()
  /** Those who still let others go first, in the order of their coming. */
  readonly #patient = new Set<Ticket>()
  /** Waits of one owner, who may have many threads. */
  readonly #waitsOf = new Map<OwnerKey, Set<Waiting>>()
  /** On how many files an owner holds byte-range locks. */
  readonly #filesOf = new Map<OwnerKey, number>()
  readonly #now: () => number
  #order = 0

  constructor(now: () => number = () => 0) {
    this.#now = now
  }

  /** Number of files with locks or waiters, by kind of lock. */
  get size(): number {
    return this.#posix.size + this.#flock.size
  }

  /** What is held, and who waits (since when), of one file or all. */
  *all(of?: Ino): Generator<ListedLock> {
    for (const files of [this.#posix, this.#flock])
      for (const ino of of === undefined ? files.keys() : [of]) {
        const file = files.get(ino)
        if (file === undefined) continue
        for (const { who, ranges } of file.holdings())
          for (const range of ranges) yield { ino, who, range, sinceMs: undefined }
        for (const { who, change, sinceMs } of file.waiters()) yield { ino, who, range: change, sinceMs }
      }
  }

  /** How many locks sessions hold and wait for, of both kinds. */
  countBySession(): Map<SessionId, LockCount> {
    const counts = new Map<SessionId, LockCount>()
    for (const { who, sinceMs } of this.all()) {
      const { held, waiting } = counts.get(who.session) ?? { held: 0, waiting: 0 }
      const isHeld = sinceMs === undefined
      counts.set(who.session, { held: held + (isHeld ? 1 : 0), waiting: waiting + (isHeld ? 0 : 1) })
    }
    return counts
  }

  /** The lock with the lowest start that is in the way of the request, if any. */
  test(ino: Ino, who: LockOwner, change: LockChange): LockInTheWay | undefined {
    const found = this.#files(who).get(ino)?.inTheWay(keyOf(who), change)
    return found && { session: found.who.session, owner: found.who.owner, range: found.range }
  }

  /**
   * Sets or removes a lock. 'conflict' is for requests that may not wait. `granted` gets the tickets of
   * the requests of others that this let through.
   */
  set(
    ino: Ino,
    who: LockOwner,
    change: LockChange,
    ticket: Ticket | undefined,
    granted: Ticket[],
  ): LockOutcome {
    const key = keyOf(who)
    const file = this.#file(ino, who)
    const outcome = this.#set(file, key, who, change, ticket, granted)
    if (outcome === 'waits') this.#enqueue(ino, file, key, who, change, must(ticket, 'a ticket'))
    this.#drop(ino, file, who)
    return outcome
  }

  isWaiting(ticket: Ticket): boolean {
    return this.#waiting.has(ticket)
  }

  /** Gives up a waiting request. False if it does not wait (any more). */
  cancel(ticket: Ticket, granted: Ticket[]): boolean {
    const found = this.#waiting.get(ticket)
    if (found === undefined) return false
    const { ino, waiting } = found
    this.#dequeue(waiting)
    this.#settle(waiting.file, [{ ...waiting.change, kind: 'write' }], granted)
    this.#drop(ino, waiting.file, waiting.who)
    return true
  }

  /** Lets those through who have let others go first for long enough. */
  tick(granted: Ticket[]): void {
    const before = this.#now() - patienceMs
    for (const ticket of this.#patient) {
      const { ino, waiting } = must(this.#waiting.get(ticket), 'a patient request')
      if (waiting.sinceMs > before) return
      this.#patient.delete(ticket)
      waiting.patient = false
      this.#try(waiting, granted)
      this.#drop(ino, waiting.file, waiting.who)
    }
  }

  /** Everything that a dead session held or waited for goes; returns the tickets that this let through. */
  releaseSession(session: SessionId): Ticket[] {
    const granted: Ticket[] = []
    // Others may have let its requests go first.
    const touched = new Set<FileLocks>()
    for (const { waiting } of [...this.#waiting.values()])
      if (waiting.who.session === session) {
        this.#dequeue(waiting)
        touched.add(waiting.file)
      }
    for (const files of [this.#posix, this.#flock])
      for (const [ino, file] of files) {
        for (const who of file.ownersOf(session)) {
          this.#apply(file, keyOf(who), who, { ...everything, kind: 'unlock' })
          touched.add(file)
        }
        if (touched.has(file)) this.#settle(file, [{ ...everything, kind: 'write' }], granted)
        if (file.isEmpty) files.delete(ino)
      }
    return granted
  }

  #set(
    file: FileLocks,
    key: OwnerKey,
    who: LockOwner,
    change: LockChange,
    ticket: Ticket | undefined,
    granted: Ticket[],
  ): LockOutcome {
    // As in Linux, turning a flock into another kind first gives up the old one: two owners that both
    // want to go from shared to exclusive would otherwise wait for each other for ever.
    if (who.flock && change.kind !== 'unlock' && file.kindOf(key) !== change.kind)
      this.#change(file, key, who, { ...change, kind: 'unlock' }, granted)
    const isFree = file.inTheWay(key, change) === undefined
    if (isFree && (ticket === undefined || !this.#letsOthersGoFirst(file, key, change))) {
      const held = file.holds(key)
      this.#change(file, key, who, change, granted)
      // Who holds a lock on the file lets nobody go first any more, with what it waits for, either.
      if (!held) this.#tryOwn(file, key, granted)
      return 'done'
    }
    if (ticket === undefined) return 'conflict'
    return !who.flock && this.#wouldDeadlock(file, key, change) ? 'deadlock' : 'waits'
  }

  #letsOthersGoFirst(file: FileLocks, key: OwnerKey, change: LockChange): boolean {
    return !file.holds(key) && file.isQueuedFor(key, change, Number.POSITIVE_INFINITY)
  }

  // ---- files and queues

  #files(who: LockOwner): Map<Ino, FileLocks> {
    return who.flock ? this.#flock : this.#posix
  }

  #file(ino: Ino, who: LockOwner): FileLocks {
    const files = this.#files(who)
    let file = files.get(ino)
    if (file === undefined) {
      file = new FileLocks()
      files.set(ino, file)
    }
    return file
  }

  #drop(ino: Ino, file: FileLocks, who: LockOwner): void {
    if (file.isEmpty) this.#files(who).delete(ino)
  }

  #enqueue(
    ino: Ino,
    file: FileLocks,
    key: OwnerKey,
    who: LockOwner,
    change: LockChange,
    ticket: Ticket,
  ): void {
    const { kind } = change
    if (kind === 'unlock') return
    const waiting: Waiting = {
      ticket,
      file,
      who,
      key,
      change: { ...change, kind },
      order: this.#order++,
      sinceMs: this.#now(),
      patient: true,
    }
    file.enqueue(waiting)
    this.#waiting.set(ticket, { ino, waiting })
    this.#patient.add(ticket)
    const waits = this.#waitsOf.get(key)
    if (waits === undefined) this.#waitsOf.set(key, new Set([waiting]))
    else waits.add(waiting)
  }

  #dequeue(waiting: Waiting): void {
    waiting.file.dequeue(waiting)
    this.#waiting.delete(waiting.ticket)
    this.#patient.delete(waiting.ticket)
    const waits = this.#waitsOf.get(waiting.key)
    waits?.delete(waiting)
    if (waits?.size === 0) this.#waitsOf.delete(waiting.key)
  }

  // ---- letting through

  #apply(file: FileLocks, key: OwnerKey, who: LockOwner, change: LockChange): Freed[] {
    const before = file.holds(key)
    const freed = file.apply(key, who, change)
    const after = file.holds(key)
    if (before !== after) {
      const files = (this.#filesOf.get(key) ?? 0) + (after ? 1 : -1)
      if (files === 0) this.#filesOf.delete(key)
      else this.#filesOf.set(key, files)
    }
    return freed
  }

  #change(file: FileLocks, key: OwnerKey, who: LockOwner, change: LockChange, granted: Ticket[]): void {
    this.#settle(file, this.#apply(file, key, who, change), granted)
  }

  /** Lets those through who wait for what became free, in the order of their coming. */
  #settle(file: FileLocks, freed: Freed[], granted: Ticket[]): void {
    for (let part = takeHull(freed); part !== undefined; part = takeHull(freed)) {
      // Once somebody holds all that became free, those behind need not be looked at one by one.
      let reader: OwnerKey | undefined
      for (const waiting of file.waitingFor(part)) {
        const { kind } = waiting.change
        if (kind === 'read' ? part.kind === 'read' : reader !== undefined && waiting.key !== reader) continue
        const holder = file.inTheWay(waiting.key, waiting.change)
        if (holder === undefined) {
          if (!this.#isTurnOf(waiting)) continue
          const gaveUp = this.#grant(waiting, freed, granted)
          // It gave something up for it, or its owner has other waits that this walk has passed, or does not come by:
          // who waits there may have come before those behind.
          if (gaveUp || !this.#waitsIn(waiting, part)) {
            freed.push(part)
            break
          }
        } else if (covers(holder.range, part)) {
          if (holder.range.kind === 'write' || part.kind === 'read') {
            this.#tryOwn(file, holder.key, granted)
            break
          }
          reader ??= holder.key
        }
      }
    }
  }

  /** Whether all else that the owner waits for in the file came later, and is looked at where a part became free. */
  #waitsIn({ file, key, order }: Waiting, part: Freed): boolean {
    for (const own of this.#waitsOf.get(key) ?? []) {
      const { start, end, kind } = own.change
      const comesBy = own.order > order && start <= part.end && part.start <= end
      if (own.file === file && (!comesBy || (kind === 'read' && part.kind === 'read'))) return false
    }
    return true
  }

  #isTurnOf(waiting: Waiting): boolean {
    const { file, key, change, order, patient } = waiting
    return !patient || file.isFirst(waiting) || file.holds(key) || !file.isQueuedFor(key, change, order)
  }

  #try(waiting: Waiting, granted: Ticket[]): void {
    if (waiting.file.inTheWay(waiting.key, waiting.change) !== undefined || !this.#isTurnOf(waiting)) return
    const freed: Freed[] = []
    this.#grant(waiting, freed, granted)
    this.#settle(waiting.file, freed, granted)
  }

  /** Whether the owner gave up something that it held for it. */
  #grant(waiting: Waiting, freed: Freed[], granted: Ticket[]): boolean {
    const { file, key, who, change, ticket } = waiting
    this.#dequeue(waiting)
    const before = this.#apply(file, key, who, change)
    freed.push(...before)
    granted.push(ticket)
    // Nobody goes before what else it waits for any more, but whoever came earlier and can go does.
    for (const own of this.#waitsOf.get(key) ?? [])
      if (own.file === file) freed.push({ ...own.change, kind: 'write' })
    return before.length > 0
  }

  /** Nothing of its own is in an owner's way: it may be let through where others are not. */
  #tryOwn(file: FileLocks, key: OwnerKey, granted: Ticket[]): void {
    for (const own of [...(this.#waitsOf.get(key) ?? [])])
      if (own.file === file && file.isWaiting(own)) this.#try(own, granted)
  }

  /** Whether a wait would close a circle: somebody in the way waits, perhaps by way of others, for the asker. */
  #wouldDeadlock(file: FileLocks, asker: OwnerKey, change: LockChange): boolean {
    if (!this.#filesOf.has(asker)) return false
    const seen = new Set<OwnerKey>()
    const pending: OwnerKey[] = []
    let looked = 0
    const holdersOf = (of: FileLocks, key: OwnerKey, wanted: LockChange): void => {
      of.inTheWay(key, wanted, holder => {
        if (!seen.has(holder.key)) {
          seen.add(holder.key)
          pending.push(holder.key)
        }
        return ++looked > circleMax
      })
    }
    holdersOf(file, asker, change)
    for (let key = pending.pop(); key !== undefined; key = pending.pop()) {
      if (key === asker) return true
      for (const wait of this.#waitsOf.get(key) ?? []) holdersOf(wait.file, key, wait.change)
    }
    return false
  }
}

/** The span of all parts, so that those who wait for different ones go in the order of their coming. Empties the list. */
function takeHull(freed: Freed[]): Freed | undefined {
  const [first, ...others] = freed.splice(0)
  if (first === undefined) return undefined
  return others.reduce(
    (hull, part) => ({
      ...hull,
      kind: part.kind === 'write' ? part.kind : hull.kind,
      start: part.start < hull.start ? part.start : hull.start,
      end: part.end > hull.end ? part.end : hull.end,
    }),
    first,
  )
}

/** Every lock there can be. */
const everything = { start: 0n, end: (1n << 64n) - 1n, pid: 0 }

const covers = (outer: Pick<LockRange, 'start' | 'end'>, inner: Pick<LockRange, 'start' | 'end'>): boolean =>
  outer.start <= inner.start && inner.end <= outer.end
