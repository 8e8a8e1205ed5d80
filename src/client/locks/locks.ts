import type { LockRange } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import { type LockChange, type LockHolder, lockRangeFromWire, lockToWire } from '../../wire/attr.ts'
import type { SessionPort } from '../files/context.ts'
import type { HeldLock } from '../session/lease-holder.ts'
import { HeldRanges } from './held-ranges.ts'

/** The last byte that a lock can cover. */
export const lockEndMax = (1n << 63n) - 1n

interface Held {
  readonly holder: LockHolder
  readonly ranges: HeldRanges
  /** The handle through which it was set last. OFD locks end with it. */
  handle: bigint
}

/**
 * Locks of this mount's programs. The master decides; what it granted is kept here to give up what a
 * closed file held without asking about files that were never locked, and to reclaim after a restart.
 */
export class Locks {
  readonly #session: SessionPort
  readonly #held = new Map<Ino, Map<string, Held>>()

  constructor(session: SessionPort) {
    this.#session = session
  }

  /** The first lock in the way, or undefined; for kind 'unlock' the holder's own first in the range. */
  async get(ino: Ino, holder: LockHolder, change: LockChange): Promise<LockRange | undefined> {
    const { kind } = change
    if (kind === 'unlock') {
      const own = this.#held.get(ino)?.get(key(holder))?.ranges.ranges
      return own?.find(range => range.start <= change.end && change.start <= range.end)
    }
    const range = { ...change, kind }
    const lock = lockToWire(range, holder)
    const reply = await this.#session.call({ $case: 'getLock', value: { ino, lock } }, 'lock')
    if (reply.lock === undefined) return undefined
    const found = lockRangeFromWire(reply.lock)
    // A process id means nothing on another machine.
    return reply.session === this.#session.identity.session ? found : { ...found, pid: 0 }
  }

  /** EAGAIN if it is taken and `wait` is false; EINTR when `signal` ends the wait; EDEADLK. */
  async set(
    ino: Ino,
    handle: bigint,
    holder: LockHolder,
    change: LockChange,
    wait: boolean,
    signal?: AbortSignal,
  ): Promise<void> {
    const lock = lockToWire(change, holder)
    try {
      await this.#session.call({ $case: 'setLock', value: { ino, lock, wait } }, 'done', signal)
    } catch (thrown) {
      // The master may have granted it before it went away.
      if (thrown instanceof FsError && thrown.code === 'ETIMEDOUT' && change.kind !== 'unlock')
        void this.#unlock(ino, holder, change).catch(() => undefined)
      throw thrown
    }
    this.#note(ino, handle, holder, change)
  }

  holdsPosix(ino: Ino, owner: bigint): boolean {
    return this.#held.get(ino)?.has(key({ owner, flock: false })) === true
  }

  holdsAny(ino: Ino): boolean {
    return this.#held.has(ino)
  }

  /** A process closed a descriptor: all its POSIX locks on the file end. */
  async closePosix(ino: Ino, owner: bigint): Promise<void> {
    await this.#close(ino, { owner, flock: false })
  }

  /** The last descriptor of a handle was closed: its flock ends, and OFD locks set through it. */
  async closeHandle(ino: Ino, handle: bigint, flockOwner: bigint | undefined): Promise<void> {
    const owners = this.#held.get(ino)
    if (owners === undefined) return
    const flock = flockOwner === undefined ? undefined : key({ owner: flockOwner, flock: true })
    const ended = [...owners].filter(([name, held]) => held.handle === handle || name === flock)
    await Promise.all(ended.map(([, held]) => this.#close(ino, held.holder)))
  }

  /** The session died, and the locks with it. */
  forget(): void {
    this.#held.clear()
  }

  *all(): Generator<HeldLock> {
    for (const [ino, owners] of this.#held)
      for (const { holder, ranges } of owners.values())
        for (const range of ranges.ranges) yield { ino, range, holder }
  }

  async #close(ino: Ino, holder: LockHolder): Promise<void> {
    const everything = { start: 0n, end: lockEndMax, pid: 0 }
    this.#note(ino, 0n, holder, { kind: 'unlock', ...everything })
    await this.#unlock(ino, holder, { kind: 'unlock', ...everything })
  }

  async #unlock(ino: Ino, holder: LockHolder, range: LockChange): Promise<void> {
    const lock = lockToWire({ ...range, kind: 'unlock' }, holder)
    await this.#session.call({ $case: 'setLock', value: { ino, lock, wait: false } }, 'done')
  }

  #note(ino: Ino, handle: bigint, holder: LockHolder, change: LockChange): void {
    const owners = this.#held.get(ino) ?? new Map<string, Held>()
    const name = key(holder)
    const held = owners.get(name) ?? { holder, handle, ranges: new HeldRanges() }
    held.ranges.apply(change)
    held.handle = handle
    if (held.ranges.empty) owners.delete(name)
    else owners.set(name, held)
    if (owners.size === 0) this.#held.delete(ino)
    else this.#held.set(ino, owners)
  }
}

const key = (holder: LockHolder): string => `${holder.flock ? 'f' : 'p'}${holder.owner}`
