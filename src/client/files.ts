import type { Env } from '../core/env.ts'
import type { Ino } from '../core/ids.ts'
import { second } from '../core/units.ts'
import { AccessTimes } from './files/access-times.ts'
import { Attributes } from './files/attributes.ts'
import { Contents } from './files/contents.ts'
import { type FilesContext, type FilesOptions, type Forgetter } from './files/context.ts'
import { Creations } from './files/creations.ts'
import { Handles } from './files/handles.ts'
import { Leases } from './files/leases.ts'
import { Listings } from './files/listings.ts'
import { type FilesState, restoreFiles, stateOfFiles } from './files/inheritance.ts'
import { throwUnheardLoss } from './files/losses.ts'
import { Names } from './files/names.ts'
import { PromisedAttributes } from './files/promised-attributes.ts'
import { PromisedNames } from './files/promised-names.ts'
import { Promises } from './files/promises.ts'
import { Removals } from './files/removals.ts'
import { Xattrs } from './files/xattrs.ts'
import { type CacheLimits, InodeCache } from './cache/inode-cache.ts'
import { Locks } from './locks/locks.ts'
import type { AttrPort, DataPath, MasterPort } from './ports.ts'
import type { Session } from './session/session.ts'
import { within } from './waiting.ts'

/** How long an unmount waits for a master that does not answer. */
const closeMs = 30 * second

export interface ClientOptions extends FilesOptions {
  readonly cache: CacheLimits
}

export const cacheDefaults: CacheLimits = { inodes: 65_536, names: 150_000 }

/** What another process, which served this mount before, leaves to this one. */
export interface Inheritance {
  readonly state: FilesState
  /** The kernel has what that process told it. */
  readonly kernel: Forgetter
  /** Settled when that process has left it for good. */
  readonly taking: Promise<unknown>
}

/** Makes the data path, once the session tells about the cluster. */
export type MakeData = (master: MasterPort, attrs: AttrPort) => DataPath

/**
 * The inode-based file system of one mount: what programs do, in terms of inodes, names and handles.
 * It owns the parts; each keeps the state that its own file describes.
 */
export class Files {
  readonly attributes: Attributes
  readonly names: Names
  readonly handles: Handles
  readonly contents: Contents
  readonly listings: Listings
  readonly xattrs: Xattrs
  readonly locks: Locks
  readonly removals: Removals
  readonly #session: Session
  readonly #context: FilesContext
  readonly #atimes: AccessTimes
  readonly #promises: Promises
  #closing: Promise<void> | undefined

  private constructor(
    context: FilesContext,
    session: Session,
    parts: { attributes: Attributes; atimes: AccessTimes; locks: Locks; promises: Promises },
  ) {
    this.#context = context
    this.#session = session
    this.attributes = parts.attributes
    this.locks = parts.locks
    this.#atimes = parts.atimes
    this.removals = new Removals(context)
    this.listings = new Listings(context, this.attributes, this.#atimes)
    this.#promises = parts.promises
    this.names = new Names(
      context,
      this.attributes,
      this.#atimes,
      this.removals,
      this.listings,
      new Creations(context, this.#promises),
      new PromisedNames(context, this.#promises, this.removals),
    )
    this.handles = new Handles(
      context,
      this.attributes,
      this.names,
      this.#atimes,
      this.removals,
      this.locks,
      this.listings.neighbours,
      this.#promises,
    )
    this.contents = new Contents(context, this.attributes, this.#atimes)
    this.xattrs = new Xattrs(context)
  }

  /** Begins the session. Rejects when the master refuses it or is away. */
  static async open(
    env: Env,
    session: Session,
    makeData: MakeData,
    options: ClientOptions,
    inherited?: Inheritance,
  ): Promise<Files> {
    const cache = new InodeCache(
      () => session.leaseLeftMs(),
      options.cache,
      () => leases.sweep(),
    )
    let data: DataPath | undefined
    const context: FilesContext = {
      env,
      session,
      cache,
      options: {
        ...options,
        get readOnly() {
          return options.readOnly || session.rules.readOnly
        },
      },
      kernel: inherited?.kernel,
      taking: inherited?.taking,
      get data() {
        return (data ??= makeData(session, attributes))
      },
    }
    const promises = new Promises(context)
    const attributes = new Attributes(context, new PromisedAttributes(context, promises))
    const atimes = new AccessTimes(context)
    const locks = new Locks(session)
    const leases = new Leases(context, locks, atimes, promises)
    const files = new Files(context, session, { attributes, atimes, locks, promises })
    // Before the session: a master that was restarted asks for it.
    if (inherited !== undefined) restoreFiles(inherited.state, context, files)
    await session.start(leases)
    return files
  }

  /** Everything is on its way to be stored; who waits for that asks `unrest`. */
  settleSoon(): void {
    this.#session.hurry()
    this.#context.data.writeBackAll()
    void this.#atimes.flush()
  }

  /** Why another process could not go on with the mount just now. */
  get unrest(): string | undefined {
    const { data, cache } = this.#context
    if (data.dirtyBytes > 0) return `${data.dirtyBytes} bytes are not stored yet`
    if (this.#promises.pending || this.#atimes.pending) return 'changes are on their way to the master'
    const [call] = this.#session.unanswered
    if (call !== undefined) return `the master has not answered ${call}`
    for (const node of cache.all()) if (node.isBusy) return `inode ${node.ino} is being changed`
    return undefined
  }

  /** What another process goes on with; only without `unrest`. */
  get state(): FilesState {
    return stateOfFiles(this.#context, this)
  }

  /** Has recalls reach the kernel from now on. */
  attachKernel(kernel: Forgetter): void {
    this.#context.kernel = kernel
  }

  get cache(): InodeCache {
    return this.#context.cache
  }

  get root(): Ino {
    return this.#session.root
  }

  get readOnly(): boolean {
    return this.#context.options.readOnly
  }

  get dirtyBytes(): number {
    return this.#context.data.dirtyBytes
  }

  /** Everything of the mount is stored, access times included. */
  async flushAll(): Promise<void> {
    await Promise.all([this.#promises.settled(), this.#context.data.flushAll(), this.#atimes.flush()])
  }

  /** The directory's names are stored. ENOSPC or EIO if a change of them is lost, ETIMEDOUT if the master is away. */
  async syncDirectory(ino: Ino): Promise<void> {
    if ((this.#context.cache.get(ino)?.promised ?? 0) > 0) await this.#promises.heard()
    throwUnheardLoss(this.#context, ino)
  }

  /** Stores everything and ends the session, once. Rejects, having ended it, with what could not be stored. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const { data, env } = this.#context
    const bounded = (storing: Promise<void>, what: string) => within(env.timers, closeMs, storing, what)
    const results = await Promise.allSettled([
      bounded(this.#promises.settled(), 'the last changes of names were not made'),
      bounded(this.#atimes.flush(), 'the last access times were not stored'),
      data.close(),
    ])
    await this.#session.close()
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }
}
