/**
 * The cluster's file locks: fcntl(2) byte ranges and flock(2) whole files, which do not see each
 * other. Lives in memory only: after a restart of the master the sessions reclaim what they held.
 *
 * A request that conflicts waits in its inode's queue, first come first served. Like Linux, a new
 * request is measured against the locks that are held, not against those that wait, since F_SETLK
 * must not fail where no lock is in the way. Waits of byte-range locks that would close a circle are
 * refused (EDEADLK); flock(2) has no such check.
 */
import type { Ino, SessionId } from '../../core/ids.ts'
import { changeRanges, firstConflict, type HeldRange, type RangeChange } from './ranges.ts'

/** Who holds or asks: the kernel's lock owner within a mount. */
export interface LockOwner {
  readonly session: SessionId
  readonly owner: bigint
  readonly flock: boolean
}

/** A lock that is in somebody's way. */
export interface LockInTheWay {
  readonly session: SessionId
  readonly owner: bigint
  readonly range: HeldRange
}

/** Names a waiting request: chosen by the caller, unique among those that wait. */
export type Ticket = string

interface Holding {
  readonly who: LockOwner
  ranges: readonly HeldRange[]
}

interface Waiting {
  readonly ticket: Ticket
  readonly who: LockOwner
  readonly change: RangeChange
}

interface FileLocks {
  readonly holdings: Map<string, Holding>
  waiting: Waiting[]
}

export type LockOutcome = 'done' | 'waits' | 'conflict' | 'deadlock'

const keyOf = (who: LockOwner): string =>
  `${who.flock ? 'f' : 'p'}${who.session.toString(36)}/${who.owner.toString(36)}`

export class LockTable {
  readonly #files = new Map<Ino, FileLocks>()
  /** Inode of each waiting request. */
  readonly #tickets = new Map<Ticket, Ino>()

  /** Number of inodes with locks or waiters. */
  get size(): number {
    return this.#files.size
  }

  /** The lock with the lowest start that is in the way of the request, if any. */
  test(ino: Ino, who: LockOwner, change: RangeChange): LockInTheWay | undefined {
    const file = this.#files.get(ino)
    return file === undefined ? undefined : first(conflictsOf(file, who, change))
  }

  /**
   * Sets or removes a lock. 'conflict' is for requests that may not wait. `granted` gets the tickets of
   * the requests of others that this let through.
   */
  set(
    ino: Ino,
    who: LockOwner,
    change: RangeChange,
    ticket: Ticket | undefined,
    granted: Ticket[],
  ): LockOutcome {
    let file = this.#file(ino)
    // As in Linux, turning a flock into another kind first gives up the old one: two owners that both
    // want to go from shared to exclusive would otherwise wait for each other for ever.
    if (who.flock && change.kind !== 'unlock' && this.#kindOf(file, who) !== change.kind) {
      this.#apply(file, who, { ...change, kind: 'unlock' })
      this.#settle(ino, file, granted)
      file = this.#file(ino)
    }
    if (conflictsOf(file, who, change).length === 0) {
      this.#apply(file, who, change)
      this.#settle(ino, file, granted)
      return 'done'
    }
    if (ticket === undefined) return this.#refuse(ino, file, 'conflict')
    if (!who.flock && this.#wouldDeadlock(file, who, change)) return this.#refuse(ino, file, 'deadlock')
    file.waiting.push({ ticket, who, change })
    this.#tickets.set(ticket, ino)
    return 'waits'
  }

  isWaiting(ticket: Ticket): boolean {
    return this.#tickets.has(ticket)
  }

  /** Gives up a waiting request. False if it does not wait (any more). */
  cancel(ticket: Ticket): boolean {
    const ino = this.#tickets.get(ticket)
    if (ino === undefined) return false
    this.#tickets.delete(ticket)
    const file = this.#file(ino)
    file.waiting = file.waiting.filter(entry => entry.ticket !== ticket)
    this.#drop(ino, file)
    return true
  }

  /** Everything that a dead session held or waited for goes; returns the tickets that this let through. */
  releaseSession(session: SessionId): Ticket[] {
    const granted: Ticket[] = []
    for (const [ino, file] of this.#files) {
      const held = [...file.holdings].filter(([, holding]) => holding.who.session === session)
      const waits = file.waiting.filter(entry => entry.who.session === session)
      if (held.length === 0 && waits.length === 0) continue
      for (const [key] of held) file.holdings.delete(key)
      for (const { ticket } of waits) this.#tickets.delete(ticket)
      file.waiting = file.waiting.filter(entry => entry.who.session !== session)
      this.#settle(ino, file, granted)
    }
    return granted
  }

  #file(ino: Ino): FileLocks {
    let file = this.#files.get(ino)
    if (file === undefined) {
      file = { holdings: new Map(), waiting: [] }
      this.#files.set(ino, file)
    }
    return file
  }

  #drop(ino: Ino, file: FileLocks): void {
    if (file.holdings.size === 0 && file.waiting.length === 0) this.#files.delete(ino)
  }

  #refuse(ino: Ino, file: FileLocks, outcome: LockOutcome): LockOutcome {
    this.#drop(ino, file)
    return outcome
  }

  #kindOf(file: FileLocks, who: LockOwner): string | undefined {
    return file.holdings.get(keyOf(who))?.ranges[0]?.kind
  }

  #apply(file: FileLocks, who: LockOwner, change: RangeChange): void {
    const key = keyOf(who)
    const ranges = changeRanges(file.holdings.get(key)?.ranges ?? [], change)
    if (ranges.length === 0) file.holdings.delete(key)
    else file.holdings.set(key, { who, ranges })
  }

  /** Lets waiting requests through, in their order, until none can go on. */
  #settle(ino: Ino, file: FileLocks, granted: Ticket[]): void {
    for (let again = true; again; ) {
      again = false
      for (const entry of file.waiting) {
        if (conflictsOf(file, entry.who, entry.change).length > 0) continue
        this.#apply(file, entry.who, entry.change)
        file.waiting = file.waiting.filter(other => other !== entry)
        this.#tickets.delete(entry.ticket)
        granted.push(entry.ticket)
        // A downgrade may have let an earlier one through: from the front again.
        again = true
        break
      }
    }
    this.#drop(ino, file)
  }

  /** Whether a wait would close a circle: somebody in the way waits, perhaps by way of others, for the asker. */
  #wouldDeadlock(file: FileLocks, who: LockOwner, change: RangeChange): boolean {
    const asker = keyOf(who)
    const waits = this.#waitsByOwner()
    const seen = new Set<string>()
    const pending = conflictsOf(file, who, change).map(found => keyOf({ ...found, flock: false }))
    for (let key = pending.pop(); key !== undefined; key = pending.pop()) {
      if (key === asker) return true
      if (seen.has(key)) continue
      seen.add(key)
      for (const wait of waits.get(key) ?? [])
        for (const found of conflictsOf(wait.file, wait.entry.who, wait.entry.change))
          pending.push(keyOf({ ...found, flock: false }))
    }
    return false
  }

  #waitsByOwner(): Map<string, { file: FileLocks; entry: Waiting }[]> {
    const waits = new Map<string, { file: FileLocks; entry: Waiting }[]>()
    for (const ino of new Set(this.#tickets.values())) {
      const file = this.#file(ino)
      for (const entry of file.waiting) {
        if (entry.who.flock) continue
        const key = keyOf(entry.who)
        const list = waits.get(key)
        if (list === undefined) waits.set(key, [{ file, entry }])
        else list.push({ file, entry })
      }
    }
    return waits
  }
}

function conflictsOf(file: FileLocks, who: LockOwner, change: RangeChange): LockInTheWay[] {
  const found: LockInTheWay[] = []
  const own = keyOf(who)
  for (const [key, holding] of file.holdings) {
    if (key === own || holding.who.flock !== who.flock) continue
    const range = firstConflict(holding.ranges, change)
    if (range !== undefined) found.push({ session: holding.who.session, owner: holding.who.owner, range })
  }
  return found
}

function first(found: readonly LockInTheWay[]): LockInTheWay | undefined {
  return found.reduce<LockInTheWay | undefined>(
    (best, lock) => (best === undefined || lock.range.start < best.range.start ? lock : best),
    undefined,
  )
}
