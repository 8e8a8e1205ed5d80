/**
 * Decides for the whole mount when files are written back, and how much may be dirty.
 *
 * A file is stored at `ageMs` after its first dirty byte, `closedDelayMs` after its last close (with what else was
 * closed meanwhile), or when memory gets short: oldest first. Windows that are complete do not wait for
 * any of that (see FileWriter). Past the bound of memory, writers wait in order; they fail only when
 * everything in memory has failed to be stored.
 */
import type { Clock, Timer, Timers } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import { second } from '../../core/units.ts'
import { deferred, type Deferred } from '../waiting.ts'
import type { ChunkPool } from './chunk-pool.ts'
import type { FileWriter } from './file-writer.ts'
import type { SpaceGrant } from './space-grant.ts'
import type { WriteSchedule } from './write-context.ts'

export interface WriteBackOptions {
  /** Memory of accepted bytes, dirty and in flight. */
  readonly maxBytes: number
  readonly ageMs: number
}

/** A burst of small files, an archive say, is over by then: what stores them does not take its processor time. */
const closedDelayMs = 2 * second
/** More closed files that are dirty: the oldest are stored early, since each costs some kilobytes beside its bytes. */
const closedMax = 4096
/** So many of them share plans, puts and syncs, and others wait so long: longer steps would hold up other mounts. */
const closedAtOnce = 256
const closedPauseMs = 50
/** What is due within this is done together. */
const togetherMs = 20
const retryFirstMs = 1 * second
const retryMaxMs = 60 * second
/** Unused buffers are freed when nothing was dirty for this long. */
const trimAfterMs = 5 * second

interface Waiter {
  readonly bytes: number
  readonly done: Deferred<undefined>
}

export class WriteBack implements WriteSchedule<FileWriter> {
  readonly #clock: Clock
  readonly #timers: Timers
  readonly #pool: ChunkPool
  readonly #space: SpaceGrant
  readonly #options: WriteBackOptions
  /** When what is unsealed of a file is to be stored. */
  readonly #due = new Map<FileWriter, number>()
  /** Files with dirty bytes, sealed or not. */
  readonly #dirty = new Set<FileWriter>()
  /** Closed files that are not sealed. */
  readonly #closed = new Set<FileWriter>()
  /** Files whose last write-back failed, and the pause before the next try. */
  readonly #failing = new Map<FileWriter, number>()
  /** Files that may hold clean bytes for appends. */
  readonly #withTail = new Set<FileWriter>()
  readonly #waiting: Waiter[] = []
  #dirtyBytes = 0
  #timer: Timer | undefined
  #timerAt = Number.POSITIVE_INFINITY
  #lastError: FsError | undefined

  constructor(clock: Clock, timers: Timers, pool: ChunkPool, space: SpaceGrant, options: WriteBackOptions) {
    this.#clock = clock
    this.#timers = timers
    this.#pool = pool
    this.#space = space
    this.#options = options
  }

  get dirtyBytes(): number {
    return this.#dirtyBytes
  }

  tryAdmit(bytes: number): boolean {
    return this.#waiting.length === 0 && this.#hasRoom(bytes) && this.#space.take(bytes)
  }

  async admitted(bytes: number): Promise<void> {
    if (this.#waiting.length > 0 || !this.#hasRoom(bytes)) await this.#waitForRoom(bytes)
    for (let retried = false; !this.#space.take(bytes); ) {
      try {
        await this.#space.ask(bytes)
      } catch (thrown) {
        if (FsError.from(thrown).code !== 'ENOSPC' || retried || this.#dirty.size === 0) throw thrown
        // What is in flight may need less than was set aside for it.
        retried = true
        await Promise.all([...this.#dirty].map(file => file.writtenBack()))
      }
    }
  }

  dirtied(file: FileWriter): void {
    if (!this.#due.has(file)) this.#setDue(file, this.#clock.now() + this.#options.ageMs)
    if (this.#pool.usedBytes > this.#options.maxBytes / 2) this.#relieve()
  }

  closed(file: FileWriter): void {
    if (this.#failing.has(file)) return
    this.#closed.add(file)
    const at = this.#clock.now() + closedDelayMs
    if (at < (this.#due.get(file) ?? Number.POSITIVE_INFINITY)) this.#setDue(file, at)
    if (this.#closed.size > closedMax) this.#storeClosed(Number.POSITIVE_INFINITY)
  }

  /** What is due, and of what is until then those that were closed first. */
  #storeClosed(until: number): void {
    const now = this.#clock.now()
    const due: FileWriter[] = []
    const soon: FileWriter[] = []
    for (const file of this.#closed) {
      const at = this.#due.get(file) ?? 0
      if (at <= now) due.push(file)
      else if (at <= until && soon.length < closedAtOnce) soon.push(file)
    }
    for (const file of [...due, ...soon].slice(0, closedAtOnce)) file.writeBack()
  }

  sealed(file: FileWriter): void {
    this.#due.delete(file)
    this.#closed.delete(file)
    this.#withTail.add(file)
  }

  counted(file: FileWriter, change: number): void {
    this.#dirtyBytes += change
    if (file.dirtyBytes > 0) {
      this.#dirty.add(file)
      return
    }
    this.#dirty.delete(file)
    this.#closed.delete(file)
    this.#failing.delete(file)
    this.#due.delete(file)
    if (this.#dirty.size === 0) this.#arm(this.#clock.now() + trimAfterMs)
  }

  failed(file: FileWriter, error: FsError): void {
    this.#lastError = error
    if (file.dirtyBytes > 0) {
      const pauseMs = Math.min(retryMaxMs, (this.#failing.get(file) ?? retryFirstMs / 2) * 2)
      this.#failing.set(file, pauseMs)
      this.#setDue(file, this.#clock.now() + pauseMs)
    }
    this.#checkHopeless()
  }

  /** Memory became free. */
  released(): void {
    this.#admitWaiting()
  }

  /** Everything dirty as of now is stored. Rejects with the first failure, after all have ended. */
  async flushAll(): Promise<void> {
    const results = await Promise.allSettled([...this.#dirty].map(file => file.flush()))
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }

  writeBackAll(): void {
    for (const file of [...this.#dirty]) file.writeBack()
  }

  /**
   * The mount ends: everything dirty is stored, tried again for `patienceMs` where it fails. Rejects with what
   * could not be stored.
   */
  async storeAll(patienceMs: number): Promise<void> {
    const until = this.#clock.now() + patienceMs
    let lost: unknown
    for (;;) {
      const files = [...this.#dirty]
      const results = await Promise.allSettled(files.map(file => file.flush()))
      let kept: unknown
      for (const [index, result] of results.entries()) {
        if (result.status === 'fulfilled') continue
        if ((files[index]?.dirtyBytes ?? 0) > 0) kept ??= result.reason
        // A removed file has nothing to lose.
        else if (FsError.from(result.reason).code !== 'ENOENT') lost ??= result.reason
      }
      if (kept === undefined || this.#clock.now() >= until) {
        const error = kept ?? lost
        if (error !== undefined) throw FsError.from(error)
        return
      }
      await this.#timers.sleep(retryFirstMs)
    }
  }

  /** A file's state goes away. */
  forget(file: FileWriter): void {
    this.#withTail.delete(file)
    this.#closed.delete(file)
    this.#due.delete(file)
    this.#failing.delete(file)
  }

  close(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    for (const { done } of this.#waiting.splice(0)) done.reject(new FsError('ECANCELED', 'The mount ends'))
  }

  #hasRoom(bytes: number): boolean {
    const { usedBytes } = this.#pool
    return usedBytes === 0 || usedBytes + bytes <= this.#options.maxBytes
  }

  async #waitForRoom(bytes: number): Promise<void> {
    const done = deferred<undefined>()
    this.#waiting.push({ bytes, done })
    this.#makeRoom()
    await done.promise
  }

  #makeRoom(): void {
    for (const file of this.#withTail) file.dropClean()
    this.#withTail.clear()
    for (const file of [...this.#due.keys()]) if (!this.#failing.has(file)) file.writeBack()
    this.#admitWaiting()
    this.#checkHopeless()
  }

  #admitWaiting(): void {
    for (
      let next = this.#waiting[0];
      next !== undefined && this.#hasRoom(next.bytes);
      next = this.#waiting[0]
    ) {
      this.#waiting.shift()
      next.done.resolve(undefined)
    }
  }

  /** Writers wait, and all that fills the memory has failed: they hear why, instead of waiting for ever. */
  #checkHopeless(): void {
    if (this.#waiting.length === 0 || this.#lastError === undefined) return
    for (const file of this.#dirty)
      if (!this.#failing.has(file) || file.unsealedBytes < file.dirtyBytes) return
    if (this.#dirty.size === 0) return
    for (const { done } of this.#waiting.splice(0)) done.reject(this.#lastError)
  }

  /** Begins to store the oldest files early, so that writers do not come to wait. */
  #relieve(): void {
    let underWay = this.#dirtyBytes
    for (const file of this.#due.keys()) underWay -= file.unsealedBytes
    for (const file of [...this.#due.keys()]) {
      if (underWay > this.#options.maxBytes / 4) return
      if (this.#failing.has(file)) continue
      underWay += file.unsealedBytes
      file.writeBack()
    }
  }

  #setDue(file: FileWriter, at: number): void {
    this.#due.set(file, at)
    this.#arm(at)
  }

  #arm(at: number): void {
    if (at >= this.#timerAt) return
    this.#timer?.cancel()
    this.#timerAt = at
    this.#timer = this.#timers.after(Math.max(0, at - this.#clock.now()), () => this.#tick())
  }

  #tick(): void {
    this.#timerAt = Number.POSITIVE_INFINITY
    const now = this.#clock.now()
    let closedIsDue = false
    for (const [file, at] of [...this.#due]) {
      if (at > now + togetherMs) continue
      if (this.#closed.has(file)) closedIsDue = true
      else file.writeBack()
    }
    if (closedIsDue) this.#storeClosed(now + closedDelayMs / 2)
    let next = Number.POSITIVE_INFINITY
    for (const at of this.#due.values()) next = Math.min(next, at)
    if (next < Number.POSITIVE_INFINITY) this.#arm(Math.max(next, closedIsDue ? now + closedPauseMs : now))
    else if (this.#dirty.size === 0) this.#pool.trim()
  }
}
