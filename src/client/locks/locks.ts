import type { LockRange } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import { LockRanges } from '../../core/lock-ranges.ts'
import { type LockChange, type LockHolder, lockRangeFromWire, lockToWire } from '../../wire/attr.ts'
import type { SessionPort } from '../files/context.ts'
import type { HeldLock } from '../session/lease-holder.ts'

/** What one owner has locked of a file, or has lost. */
export interface OwnedLocks {
  readonly ino: Ino
  readonly holder: LockHolder
  readonly handle: bigint
  readonly ranges: readonly LockRange[]
  readonly lost: boolean
}

/** The last byte that a lock can cover. */
export const lockEndMax = (1n << 63n) - 1n

const everything = { start: 0n, end: lockEndMax, pid: 0 }

interface Held {
  readonly holder: LockHolder
  readonly ranges: LockRanges
  /** The handle through which it was set last. OFD locks end with it. */
  handle: bigint
}

type Owners = Map<string, Held>

/**
 * Locks of this mount's programs. The master decides; what it granted is kept here to give up what a
 * closed file held without asking about files that were never locked, and to reclaim after a restart.
 *
 * Never more is kept than the master knows: what a call gives up is forgotten when it is sent, what it takes
 * is noted when it is answered. Else a master that restarts in between could be told of a lock that somebody
 * else has got by now.
 *
 * Locks are lost when the session dies. As on NFS, whoever held one must hear of it, since it would go on as
 * if it were alone: reading, writing and locking through the handle that the lock was set with is EIO, until
 * the owner has given up what it lost or has closed the file.
 */
export class Locks {
  readonly #session: SessionPort
  readonly #held = new Map<Ino, Owners>()
  readonly #lost = new Map<Ino, Owners>()

  constructor(session: SessionPort) {
    this.#session = session
  }

  /** The first lock in the way, or undefined; for kind 'unlock' the holder's own first in the range. */
  async get(ino: Ino, holder: LockHolder, change: LockChange): Promise<LockRange | undefined> {
    const { kind } = change
    if (kind === 'unlock')
      return this.#held.get(ino)?.get(key(holder))?.ranges.firstIn(change.start, change.end)
    const range = { ...change, kind }
    const lock = lockToWire(range, holder)
    const reply = await this.#session.call({ $case: 'getLock', value: { ino, lock } }, 'lock')
    if (reply.lock === undefined) return undefined
    const found = lockRangeFromWire(reply.lock)
    // A process id means nothing on another machine.
    return reply.session === this.#session.identity.session ? found : { ...found, pid: 0 }
  }

  /**
   * EAGAIN if it is taken and `wait` is false; EINTR when `signal` ends the wait; EDEADLK; EIO if the owner
   * lost locks on the file.
   */
  async set(
    ino: Ino,
    handle: bigint,
    holder: LockHolder,
    change: LockChange,
    wait: boolean,
    signal?: AbortSignal,
  ): Promise<void> {
    const { kind } = change
    if (kind === 'unlock') {
      apply(this.#lost, ino, holder, handle, change)
      apply(this.#held, ino, holder, handle, change)
      await this.#insist(ino, holder, change)
      return
    }
    if (this.#lost.get(ino)?.has(key(holder)) === true) throw lostLock(ino)
    const before = this.#weaken(ino, handle, holder, { ...change, kind })
    const lock = lockToWire(change, holder)
    try {
      await this.#session.call({ $case: 'setLock', value: { ino, lock, wait } }, 'done', signal)
    } catch (thrown) {
      for (const range of before) apply(this.#held, ino, holder, handle, range)
      // The master may have granted it before it went away.
      if (isAway(thrown)) this.#undo(ino, holder, change)
      throw thrown
    }
    apply(this.#held, ino, holder, handle, change)
  }

  /** EIO if a lock was lost that was set through the handle. */
  check(ino: Ino, handle: bigint): void {
    for (const lost of this.#lost.get(ino)?.values() ?? []) if (lost.handle === handle) throw lostLock(ino)
  }

  holdsPosix(ino: Ino, owner: bigint): boolean {
    const name = key({ owner, flock: false })
    return this.#held.get(ino)?.has(name) === true || this.#lost.get(ino)?.has(name) === true
  }

  holdsAny(ino: Ino): boolean {
    return this.#held.has(ino) || this.#lost.has(ino)
  }

  /** A process closed a descriptor: all its POSIX locks on the file end. */
  async closePosix(ino: Ino, owner: bigint): Promise<void> {
    const holder = { owner, flock: false }
    await Promise.all([this.#lost, this.#held].map(locks => this.#close(locks, ino, holder)))
  }

  /** The last descriptor of a handle was closed: its flock ends, and OFD locks set through it. */
  async closeHandle(ino: Ino, handle: bigint, flockOwner: bigint | undefined): Promise<void> {
    const flock = flockOwner === undefined ? undefined : key({ owner: flockOwner, flock: true })
    const ending: Promise<void>[] = []
    for (const locks of [this.#lost, this.#held])
      for (const [name, held] of [...(locks.get(ino) ?? [])])
        if (held.handle === handle || name === flock) ending.push(this.#close(locks, ino, held.holder))
    await Promise.all(ending)
  }

  /** The session died, and the locks with it. */
  lose(): void {
    for (const [ino, owners] of this.#held)
      for (const { holder, handle, ranges } of owners.values())
        for (const range of ranges.all) apply(this.#lost, ino, holder, handle, range)
    this.#held.clear()
  }

  *owned(): Generator<OwnedLocks> {
    for (const locks of [this.#held, this.#lost])
      for (const [ino, owners] of locks)
        for (const { holder, handle, ranges } of owners.values())
          yield { ino, holder, handle, ranges: ranges.all, lost: locks === this.#lost }
  }

  /** They were taken by the process that served this mount before. */
  restore({ ino, holder, handle, ranges, lost }: OwnedLocks): void {
    for (const range of ranges) apply(lost ? this.#lost : this.#held, ino, holder, handle, range)
  }

  *all(): Generator<HeldLock> {
    for (const [ino, owners] of this.#held)
      for (const { holder, ranges } of owners.values())
        for (const range of ranges.all) yield { ino, range, holder }
  }

  /**
   * What the master takes away before it gives: a write lock becomes a read lock, a flock of another kind goes.
   * Returns what is back if it gives nothing.
   */
  #weaken(ino: Ino, handle: bigint, holder: LockHolder, change: LockRange): readonly LockRange[] {
    const own = this.#held.get(ino)?.get(key(holder))?.ranges
    if (own === undefined || own.isEmpty) return []
    if (holder.flock) {
      if (own.all[0]?.kind !== change.kind)
        apply(this.#held, ino, holder, handle, { ...everything, kind: 'unlock' })
      return []
    }
    if (change.kind === 'write') return []
    const before = partsIn(own, change)
    for (const range of before) apply(this.#held, ino, holder, handle, { ...range, kind: 'read' })
    return before
  }

  /** Has the master know again what is kept of the range here. */
  #undo(ino: Ino, holder: LockHolder, { start, end, pid }: LockChange): void {
    let at = start
    const own = this.#held.get(ino)?.get(key(holder))?.ranges ?? new LockRanges()
    for (const range of partsIn(own, { start, end })) {
      if (at < range.start)
        this.#insistLater(ino, holder, { kind: 'unlock', start: at, end: range.start - 1n, pid })
      this.#insistLater(ino, holder, range)
      at = range.end + 1n
    }
    if (at <= end) this.#insistLater(ino, holder, { kind: 'unlock', start: at, end, pid })
  }

  #insistLater(ino: Ino, holder: LockHolder, change: LockChange): void {
    void this.#insist(ino, holder, change).catch(() => undefined)
  }

  async #close(locks: Map<Ino, Owners>, ino: Ino, holder: LockHolder): Promise<void> {
    if (locks.get(ino)?.has(key(holder)) !== true) return
    apply(locks, ino, holder, 0n, { ...everything, kind: 'unlock' })
    if (locks === this.#held) await this.#insist(ino, holder, { ...everything, kind: 'unlock' })
  }

  /**
   * Gives up, or keeps, what is the owner's own, and so cannot be refused. Asked again for as long as the master is
   * away: nobody else could do it. The next request is queued when the last one is given up, so it is before
   * whatever the owner asks for next.
   */
  async #insist(ino: Ino, holder: LockHolder, change: LockChange): Promise<void> {
    const lock = lockToWire(change, holder)
    const { incarnation } = this.#session
    try {
      await this.#session.call({ $case: 'setLock', value: { ino, lock, wait: false } }, 'done')
    } catch (thrown) {
      if (!isAway(thrown)) throw thrown
      // With the session it goes by itself.
      if (this.#session.incarnation === incarnation) this.#insistLater(ino, holder, change)
    }
  }
}

/** What is held of a range, cut to it. */
function partsIn(held: LockRanges, { start, end }: Pick<LockRange, 'start' | 'end'>): LockRange[] {
  return held.all
    .filter(range => range.start <= end && start <= range.end)
    .map(range => ({
      ...range,
      start: range.start > start ? range.start : start,
      end: range.end < end ? range.end : end,
    }))
}

function apply(
  locks: Map<Ino, Owners>,
  ino: Ino,
  holder: LockHolder,
  handle: bigint,
  change: LockChange,
): void {
  const owners = locks.get(ino) ?? new Map<string, Held>()
  const name = key(holder)
  const held = owners.get(name) ?? { holder, handle, ranges: new LockRanges() }
  held.ranges.apply(change)
  if (change.kind !== 'unlock') held.handle = handle
  if (held.ranges.isEmpty) owners.delete(name)
  else owners.set(name, held)
  if (owners.size === 0) locks.delete(ino)
  else locks.set(ino, owners)
}

const key = (holder: LockHolder): string => `${holder.flock ? 'f' : 'p'}${holder.owner}`

const isAway = (thrown: unknown): boolean => thrown instanceof FsError && thrown.code === 'ETIMEDOUT'

const lostLock = (ino: Ino): FsError =>
  new FsError('EIO', `inode ${ino}: a lock was lost with the session that held it`)
