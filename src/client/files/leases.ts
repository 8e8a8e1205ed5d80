import { FsError, messageOf } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import type { Lease } from '../../wire/attr.ts'
import { deferred } from '../waiting.ts'
import type { Inode } from '../cache/inode.ts'
import { atLeast } from '../cache/inode-cache.ts'
import type { Locks } from '../locks/locks.ts'
import type { DataTraffic, HeldLease, HeldLock, LeaseHolder, RecallHow } from '../session/lease-holder.ts'
import type { AccessTimes } from './access-times.ts'
import type { FileData } from '../ports.ts'
import type { FilesContext, Forgetter } from './context.ts'
import type { Promises } from './promises.ts'

/** Writes that arrive while a recall is answered are stored, too; after so many rounds they wait. */
const flushRoundsMax = 8
/** Likewise for reads that fill the page cache while it is being invalidated. */
const invalidationRoundsMax = 8
/** What cannot be stored before a lease goes is tried again after so long, for this part of what a lease lasts. */
const storePauseMs = 500
const storePatienceShare = 1 / 2
/** How long it is waited for the kernel to forget pages while a truncation keeps it from writing them back. */
const truncatingPatienceMs = 200
/** When there are too many inodes, so many of them are given back at once. */
const sweptShare = 1 / 8

/**
 * What happens to cached things when leases come and go:
 *
 *   granted ─► recalled: store what is dirty ─► write through ─► have the kernel forget, while it is still
 *                answered under the old lease ─► drop ─► RecallDone
 *   granted ─► swept (too many): have the kernel forget ─► drop ─► Release
 *   any ─► lapsed or died: drop; the kernel's time-outs end with the lease
 *
 * No answer to the kernel ever waits for an invalidation: it may be waiting for that answer.
 */
export class Leases implements LeaseHolder {
  readonly #context: FilesContext
  readonly #locks: Locks
  readonly #atimes: AccessTimes
  readonly #promises: Promises
  #sweeping = false

  constructor(context: FilesContext, locks: Locks, atimes: AccessTimes, promises: Promises) {
    this.#promises = promises
    this.#context = context
    this.#locks = locks
    this.#atimes = atimes
  }

  get traffic(): DataTraffic {
    return this.#context.data.traffic
  }

  get dirtyBytes(): number {
    return this.#context.data.dirtyBytes
  }

  granted(ino: Ino, lease: Lease, alone: boolean): void {
    const node = this.#context.cache.get(ino)
    // The master grants nothing while it recalls; a late reply says what was true before.
    if (node?.recalling === true || node?.gone === true) return
    // What was learned without a lease may have changed since.
    if (node?.lease === 'none') this.#context.data.known(ino)?.forgetExtents()
    this.#context.cache.granted(ino, lease, alone)
  }

  holds(ino: Ino): boolean {
    return (this.#context.cache.get(ino)?.lease ?? 'none') !== 'none'
  }

  async recalled(
    ino: Ino,
    wanted: Lease,
    { removing, sharing }: RecallHow,
  ): Promise<{ readonly kept: Lease; readonly open: boolean; readonly writing: boolean }> {
    await this.#context.taking
    const node = this.#context.cache.get(ino)
    if (node === undefined) return { kept: 'none', open: false, writing: false }
    const to = sharing && node.writers > 0 ? 'read' : wanted
    // Without a lease there may be READs under way whose pages the lease was to cover.
    if (!atLeast(to, node.lease) || (to === 'none' && node.reading > 0)) await this.#lower(node, to)
    const open = node.opens > 0 && !node.isDirectory
    // Whether it was removed shows when the last handle is closed.
    if (removing && open) node.orphaned = true
    return { kept: node.lease, open, writing: node.writers > 0 }
  }

  distrust(why: string): void {
    const { cache, data, env } = this.#context
    env.log.debug('Dropping what is cached', { why, inodes: cache.size })
    for (const node of cache.all()) {
      cache.drop(node)
      data.known(node.ino)?.forgetExtents()
    }
    this.#forgetEverything()
  }

  sessionDied(): void {
    const { cache, data, env } = this.#context
    const nodes = [...cache.all()]
    for (const node of nodes) {
      const contents = data.known(node.ino)
      if (contents !== undefined && contents.dirtyBytes > 0) {
        env.log.error('Written data is lost with the session', { ino: node.ino, bytes: contents.dirtyBytes })
        node.lost = new FsError('EIO', `inode ${node.ino}: written under a session that died`)
        contents.abandon(node.lost)
      }
      contents?.forgetExtents()
      node.lease = 'none'
      if (node.removed && node.orphaned) node.forfeited = true
      node.orphaned = false
      cache.drop(node)
      if (node.opens === 0 && !node.removed && node.lost === undefined) cache.remove(node)
    }
    this.#locks.lose()
    this.#atimes.forget()
    this.#forgetEverything()
  }

  holdings(): { readonly leases: Iterable<HeldLease>; readonly locks: Iterable<HeldLock> } {
    return { leases: this.#heldLeases(), locks: this.#locks.all() }
  }

  /** Gives back what was not used lately, since there is more than should be. */
  sweep(): void {
    if (this.#sweeping) return
    this.#sweeping = true
    void Promise.resolve(this.#context.taking)
      .then(() => this.#sweep())
      .catch((thrown: unknown) => {
        this.#context.env.log.warn('Leases were not given back', { why: messageOf(thrown) })
      })
      .finally(() => {
        this.#sweeping = false
      })
  }

  *#heldLeases(): Generator<HeldLease> {
    for (const node of this.#context.cache.all()) {
      const open = node.opens > 0 && !node.isDirectory
      if (node.lease !== 'none' || open)
        yield { ino: node.ino, lease: node.lease, open, writing: node.writers > 0 }
    }
  }

  async #lower(node: Inode, to: Lease): Promise<void> {
    node.recalling = true
    try {
      if (node.lease === 'write') await this.#endBuffering(node)
      if (to === 'none') await this.#endCaching(node)
      // What it covered so far may be older than what others see from now on.
      else if (node.changing > 0) await this.#forgetChanging(node)
    } finally {
      node.recalling = node.forgetting
    }
  }

  /** Stores what is dirty. From then on every write is stored before it is answered. */
  async #endBuffering(node: Inode): Promise<void> {
    // As data: after a restart of the master they would come after what others ask in the meantime.
    if (node.promised > 0) await this.#promises.answered()
    // Sent before the answer, and not waited for: others may be waiting for the same directory.
    void this.#atimes.flushOne(node)
    const held = deferred<undefined>()
    const contents = this.#context.data.known(node.ino)
    const { env, session } = this.#context
    const until = env.clock.now() + session.leaseMs * storePatienceShare
    for (let round = 0; contents !== undefined && contents.dirtyBytes > 0; round++) {
      if (round === flushRoundsMax) node.holdBack = held.promise
      const error = await this.#store(node)
      if (error === undefined || contents.dirtyBytes === 0) continue
      // Without the lease it would be stored some time, over what others have written by then.
      if (env.clock.now() >= until) this.#giveUpWritten(node, contents, error)
      else await env.timers.sleep(storePauseMs)
    }
    // The session may have died meanwhile.
    if (node.lease === 'write') node.lease = 'read'
    node.laundered = false
    node.holdBack = undefined
    held.resolve(undefined)
  }

  async #forgetChanging(node: Inode): Promise<void> {
    const { kernel } = this.#context
    if (node.isDirectory || node.names !== undefined) await kernel?.names()
    await kernel?.inode(node.ino, false)
  }

  /** Stores what is dirty, or says why it cannot be. What was dropped by that is noted. */
  async #store(node: Inode): Promise<FsError | undefined> {
    const { data, env } = this.#context
    const contents = data.known(node.ino)
    try {
      await contents?.flush()
      return undefined
    } catch (thrown) {
      const error = FsError.from(thrown)
      env.log.warn('Cannot store what was written before the lease goes', {
        ino: node.ino,
        why: messageOf(error),
      })
      if (contents?.dirtyBytes === 0) node.lost ??= error
      return error
    }
  }

  #giveUpWritten(node: Inode, contents: FileData, error: FsError): void {
    const { ino } = node
    const { env } = this.#context
    env.log.error('Written data is lost: it could not be stored', {
      ino,
      bytes: contents.dirtyBytes,
      why: error.message,
    })
    node.lost ??= error
    contents.abandon(error)
  }

  /** Has the kernel forget, again after requests that were answered meanwhile: they may have filled its pages anew. */
  async #endCaching(node: Inode): Promise<void> {
    const { kernel, cache, data } = this.#context
    const pages = !node.isDirectory
    if (kernel !== undefined && (node.isDirectory || node.names !== undefined)) await kernel.names()
    let quiet = kernel === undefined
    for (let round = 0; kernel !== undefined && !quiet && round < invalidationRoundsMax; round++) {
      node.served = 0
      const forgotten = kernel.inode(node.ino, pages)
      if (pages && !(await this.#inTime(node, forgotten))) {
        this.#forgetsLater(node, forgotten, kernel)
        break
      }
      await forgotten
      // Pages that a mapping has changed were written back by that.
      if (node.laundered) await this.#storeLaundered(node)
      quiet = node.served === 0 && node.reading === 0
    }
    node.lease = 'none'
    cache.drop(node)
    data.known(node.ino)?.forgetExtents()
    if (node.opens === 0) data.release(node.ino)
    if (node.forgetting) return
    // Whatever fills pages from now on drops them itself.
    node.recalling = false
    if (!quiet) await kernel?.inode(node.ino, pages)
  }

  /**
   * False if the kernel cannot forget yet: it first writes back what a mapping has changed, which it does not
   * while a truncation is under way; and that may wait for another mount whose truncation waits for us.
   */
  async #inTime(node: Inode, forgotten: Promise<void>): Promise<boolean> {
    const { timers } = this.#context.env
    const ended = forgotten.then(() => true)
    for (;;) {
      const late = deferred<boolean>()
      const timer = timers.after(truncatingPatienceMs, () => late.resolve(false))
      const done = await Promise.race([ended, late.promise])
      timer.cancel()
      if (done || node.truncating > 0) return done
    }
  }

  /** Until then no lease is taken, and what fills pages need not drop them. */
  #forgetsLater(node: Inode, forgotten: Promise<void>, kernel: Forgetter): void {
    node.forgetting = true
    void forgotten.finally(() => {
      node.forgetting = false
      node.recalling = false
      void kernel.inode(node.ino, true)
    })
  }

  async #storeLaundered(node: Inode): Promise<void> {
    node.laundered = false
    if ((this.#context.data.known(node.ino)?.dirtyBytes ?? 0) === 0) return
    this.#context.session.storing(node.ino)
    await this.#store(node)
  }

  async #sweep(): Promise<void> {
    const { cache, session, data, kernel } = this.#context
    while (cache.size > cache.limits.inodes) {
      const count = Math.ceil(cache.limits.inodes * sweptShare)
      const idle = (node: Inode) => this.#isIdle(node)
      let swept = cache.coldest(count, idle)
      if (swept.length === 0) swept = cache.coldest(count, idle)
      if (swept.length === 0) return
      for (const node of swept) node.recalling = true
      if (swept.some(node => node.isDirectory)) await kernel?.names()
      if (kernel !== undefined) await Promise.all(swept.map(node => kernel.inode(node.ino, false)))
      const still = swept.filter(node => this.#isIdle(node, true))
      for (const node of swept) node.recalling = false
      session.release(still.filter(node => node.lease !== 'none').map(node => node.ino))
      for (const node of still) {
        cache.remove(node)
        data.release(node.ino)
      }
      if (still.length === 0) return
    }
  }

  #isIdle(node: Inode, recalling = false): boolean {
    const dirty = this.#context.data.known(node.ino)?.dirtyBytes ?? 0
    return (
      node.opens === 0 &&
      dirty === 0 &&
      node.reading === 0 &&
      node.turns.idle &&
      node.recalling === recalling &&
      node.atime === undefined &&
      node.lost === undefined &&
      node.removal === undefined &&
      node.linking === undefined &&
      !node.discarding &&
      node.creation === undefined &&
      node.promised === 0 &&
      !this.#locks.holdsAny(node.ino)
    )
  }

  #forgetEverything(): void {
    const { kernel, cache } = this.#context
    if (kernel === undefined) return
    void kernel.names()
    for (const node of cache.all()) void kernel.inode(node.ino, node.opens > 0)
  }
}
