import { type Attr, isRegular } from '../../core/attr.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import type { Name } from '../../core/name.ts'
import type { Inode } from '../cache/inode.ts'
import { alreadyHeard, type Listener, noteLoss, throwLossTo } from './losses.ts'
import type { Locks } from '../locks/locks.ts'
import type { AccessTimes } from './access-times.ts'
import type { Attributes } from './attributes.ts'
import { type FilesContext, mustBeWritable } from './context.ts'
import { looksNew, type Names } from './names.ts'
import type { Neighbours } from './neighbours.ts'
import type { Promises } from './promises.ts'
import type { NewFile } from './new-file.ts'
import type { Removals } from './removals.ts'

/** What open(2) asked for, as src/fuse passes it. */
export interface OpenHow {
  readonly read: boolean
  readonly write: boolean
  readonly append: boolean
  readonly truncate: boolean
  readonly sync: boolean
  readonly noAtime: boolean
  readonly killSuidgid: boolean
}

/** An open file. */
export interface OpenFile extends Listener {
  readonly handle: bigint
  readonly how: OpenHow
  /** Reads and writes pass by the kernel's pages, since others write to the file, too. This never changes. */
  readonly directIo: boolean
  /** Session under which it was opened: its cached writes are worth nothing in another. */
  readonly incarnation: number
}

export interface OpenedFile {
  readonly file: OpenFile
  readonly keepCache: boolean
}

/**
 * Open regular files. The lease that a handle needs is taken when it is opened, never when it writes,
 * because the kernel holds locks while it writes (docs/design.md §6).
 */
export class Handles {
  readonly #context: FilesContext
  readonly #attributes: Attributes
  readonly #names: Names
  readonly #atimes: AccessTimes
  readonly #removals: Removals
  readonly #locks: Locks
  readonly #neighbours: Neighbours
  readonly #promises: Promises
  readonly #files = new Map<bigint, OpenFile>()
  #last = 0n

  constructor(
    context: FilesContext,
    attributes: Attributes,
    names: Names,
    atimes: AccessTimes,
    removals: Removals,
    locks: Locks,
    neighbours: Neighbours,
    promises: Promises,
  ) {
    this.#context = context
    this.#attributes = attributes
    this.#names = names
    this.#atimes = atimes
    this.#removals = removals
    this.#locks = locks
    this.#neighbours = neighbours
    this.#promises = promises
  }

  all(): IterableIterator<OpenFile> {
    return this.#files.values()
  }

  /** It was opened by the process that served this mount before. */
  restore(file: OpenFile): void {
    const { node, how } = file
    this.#files.set(file.handle, file)
    if (file.handle > this.#last) this.#last = file.handle
    this.#count(node, how, 1)
    if (how.write && !file.directIo) node.cachedWriters += 1
    this.#context.data.file(node.ino)
  }

  get(handle: bigint): OpenFile {
    const file = this.#files.get(handle)
    if (file === undefined) throw new FsError('EBADF', `handle ${handle} is not open`)
    return file
  }

  async open(ino: Ino, how: OpenHow): Promise<OpenedFile> {
    if (how.write || how.truncate) mustBeWritable(this.#context.options)
    const node = this.#context.cache.make(ino)
    if (node.removal !== undefined) await this.#removals.settled(node)
    // Looked up before it was removed or replaced: at ESTALE the kernel looks the name up again.
    if (node.gone) throw new FsError('ESTALE', `inode ${ino} is gone`)
    // Counted before anything is awaited, so that a removal sees it and the inode is not swept.
    this.#count(node, how, 1)
    try {
      const acquired = this.#attributes.acquire(node, how.write ? 'write' : 'read')
      if (acquired !== undefined) await acquired
      const committed = this.#attributes.committed(ino)
      const attr = committed instanceof Promise ? await committed : committed
      if (!isRegular(attr.mode)) throw new FsError('EINVAL', `inode ${ino} is no regular file`)
      // Removed by another mount before the master heard of this open: it is kept for others only.
      if (attr.nlink === 0 && !node.orphaned) throw new FsError('ESTALE', `inode ${ino} was removed`)
      if (how.truncate) await this.#attributes.set(ino, truncation(how))
      if (!how.write) this.#neighbours.opened(ino)
      return this.#opened(node, how)
    } catch (thrown) {
      this.#count(node, how, -1)
      throw thrown
    }
  }

  /** Makes and opens; an existing file is opened, unless `exclusive`. */
  async create(
    parent: Ino,
    name: Name,
    made: NewFile,
    how: OpenHow,
    exclusive: boolean,
  ): Promise<{ readonly attr: Attr; readonly opened: OpenedFile }> {
    const attr = await this.#names.create(parent, name, made, { exclusive, writeLease: how.write })
    // A file of somebody else's, made after the kernel looked: it has the age and type that it has.
    if (!isRegular(attr.mode)) throw new FsError('ESTALE', `inode ${attr.ino} is no regular file`)
    // One that looks untouched need not be truncated.
    const fresh = exclusive || looksNew(attr)
    const opened = await this.open(attr.ino, { ...how, truncate: how.truncate && !fresh })
    if (how.truncate && !fresh) return { attr: await this.#attributes.get(attr.ino), opened }
    // It may have changed while the lease to open it was asked for.
    return { attr: this.#attributes.shown(this.#attributes.latest(attr)), opened }
  }

  async tmpfile(
    parent: Ino,
    made: NewFile,
    how: OpenHow,
  ): Promise<{ readonly attr: Attr; readonly opened: OpenedFile }> {
    const attr = await this.#names.tmpfile(parent, made)
    const node = this.#context.cache.make(attr.ino)
    node.removed = true
    node.orphaned = true
    node.attr = attr
    this.#count(node, how, 1)
    return { attr, opened: this.#opened(node, how) }
  }

  /** A descriptor was closed: its process's POSIX locks end, and it hears of writes that failed. */
  flush(handle: bigint, lockOwner: bigint): void | Promise<void> {
    const file = this.get(handle)
    const { node } = file
    // What a mapping of a shared file left is not to be seen by others later than the end of this.
    const stored = node.laundered && node.lease !== 'write' ? this.#stored(node) : undefined
    if (stored === undefined && !this.#locks.holdsPosix(node.ino, lockOwner)) {
      throwLossTo(this.#context, file)
      return undefined
    }
    return this.#flush(file, lockOwner, stored)
  }

  async #flush(file: OpenFile, lockOwner: bigint, stored: Promise<void> | undefined): Promise<void> {
    const { node } = file
    try {
      await stored
    } finally {
      // A lock that is given up tells others that they may look.
      if (this.#locks.holdsPosix(node.ino, lockOwner)) await this.#locks.closePosix(node.ino, lockOwner)
    }
    throwLossTo(this.#context, file)
  }

  /** Everything written is stored or noted as lost, and no other mount has anything older. */
  async #stored(node: Inode): Promise<void> {
    node.laundered = false
    await this.#context.data
      .known(node.ino)
      ?.flush()
      .catch((thrown: unknown) => noteLoss(node, FsError.from(thrown)))
    await node.settling
  }

  /** ETIMEDOUT if the master is away. No RPC when nothing is dirty or promised, since all else is durable when it is answered. */
  async fsync(handle: bigint): Promise<void> {
    const file = this.get(handle)
    if (this.#promises.pending) {
      // Of names, too, since they may be this file's. What failed is a loss of this file or of a directory.
      await this.#promises.heard()
      throwLossTo(this.#context, file)
    }
    await this.#stored(file.node)
    throwLossTo(this.#context, file)
  }

  /** The last descriptor of the handle was closed. Nobody waits for what happens then. */
  release(handle: bigint, flockOwner: bigint | undefined): void {
    const file = this.#files.get(handle)
    if (file === undefined) return
    this.#files.delete(handle)
    const { node, how } = file
    this.#count(node, how, -1)
    if (how.write && !file.directIo) node.cachedWriters -= 1
    void this.#locks.closeHandle(node.ino, handle, flockOwner).catch((thrown: unknown) =>
      this.#context.env.log.warn('Locks of a closed file were not given up', {
        ino: node.ino,
        why: messageOf(thrown),
      }),
    )
    if (node.opens > 0) return
    if (node.removed && node.linking !== undefined) void this.#closeWhenLinked(node)
    else this.#closeLast(node)
  }

  #closeLast(node: Inode): void {
    if (node.removed) void this.#removals.discard(node)
    else if (node.orphaned) void this.#closePerhapsRemoved(node)
    else this.#closed(node)
  }

  /** It is getting its first name: what was written to it is perhaps not nobody's. */
  async #closeWhenLinked(node: Inode): Promise<void> {
    await this.#removals.linked(node)
    // It may have been opened and closed again meanwhile.
    if (node.opens === 0 && !node.discarding) this.#closeLast(node)
  }

  /** Another mount was removing it while it was open here: the master keeps it for us if that succeeded. */
  async #closePerhapsRemoved(node: Inode): Promise<void> {
    const { cache, env } = this.#context
    try {
      const attr = await this.#attributes.inTheEnd(node.ino)
      if (node.opens > 0) return
      if (attr.nlink === 0) {
        node.removed = true
        node.attr = attr
        await this.#removals.discard(node)
        return
      }
    } catch (thrown) {
      env.log.debug('A closed file is gone', { ino: node.ino, why: messageOf(thrown) })
    }
    node.orphaned = false
    if (cache.get(node.ino) === node) this.#closed(node)
  }

  #closed(node: Inode): void {
    const { data } = this.#context
    const contents = data.known(node.ino)
    if (contents === undefined) return
    if (contents.dirtyBytes === 0 && node.lease === 'none') data.release(node.ino)
    else data.closed(node.ino)
  }

  #opened(node: Inode, how: OpenHow): OpenedFile {
    const { session, cache, data } = this.#context
    data.file(node.ino)
    const leased = cache.trusted(node)
    const directIo = how.write && !(leased && node.lease === 'write')
    this.#last += 1n
    const { incarnation } = session
    const file = { handle: this.#last, node, how, directIo, incarnation, heard: alreadyHeard(node) }
    this.#files.set(file.handle, file)
    if (how.write && !directIo) node.cachedWriters += 1
    const unread = how.read && !how.noAtime && node.attr !== undefined && this.#isUnread(node.attr)
    const keepCache = node.pagesValid && leased && !unread
    node.pagesValid = leased && !directIo
    return { file, keepCache }
  }

  /** The first read must reach us, to be seen in atime. */
  #isUnread(attr: Attr): boolean {
    return this.#atimes.due(this.#attributes.shown(attr))
  }

  #count(node: Inode, how: OpenHow, by: 1 | -1): void {
    node.opens += by
    if (how.write) node.writers += by
  }
}

function truncation(how: OpenHow): { size: 0; killSuidgid?: true } {
  return how.killSuidgid ? { size: 0, killSuidgid: true } : { size: 0 }
}
