import type { DataTraffic } from './session/lease-holder.ts'
import type { Attr } from '../core/attr.ts'
import type { FsError } from '../core/errors.ts'
import type { Ino } from '../core/ids.ts'
import type { ReadBytes } from '../core/read-bytes.ts'
import type { Op } from '../wire/commands.ts'
import type { Reply } from '../wire/gen/cairn/v1/session.ts'
import type { Interruptible } from './waiting.ts'

/**
 * How the parts of the client see each other: session/ offers MasterPort, the data path (read/,
 * write/) offers FileData, files.ts joins them to a file system.
 */
export type Result = NonNullable<Reply['result']>
export type ResultOf<Case extends Result['$case']> = Extract<Result, { $case: Case }>['value']

export interface ClusterFacts {
  /** Of the protocol that the master and this mount speak. */
  readonly version: number
  readonly cluster: Uint8Array
  readonly blockBytes: number
  readonly copies: number
  readonly minCopies: number
  /** What the session's ids of blocks are made with; empty: nothing. */
  readonly dedupDomain: Uint8Array
}

/** The master, by way of this mount's session. */
export interface MasterPort {
  /**
   * Sends a call and resolves with its result, which must be of the expected case. Commands happen
   * exactly once; both wait, bounded, for a master that is away. Rejects with FsError: the master's
   * answer, ETIMEDOUT, EINTR when `signal` aborts a wait, or EIO when the session died (outcome unknown).
   * Leases that come with the reply are already noted when this resolves.
   */
  call<Case extends Result['$case']>(op: Op, expect: Case, signal?: AbortSignal): Promise<ResultOf<Case>>
  /** Cluster time, ns. */
  time(): bigint
  readonly facts: ClusterFacts
  /** The master's disk has no room for more: what needs some must not be promised to anybody. */
  readonly diskFull: boolean
  /** The session as named in grants and on block streams. */
  readonly identity: { readonly session: bigint; readonly epoch: bigint }
  /** What of the export that the session is of concerns the data path. */
  readonly rules: { readonly noShortCircuit: boolean }
}

/** What the data path holds of one regular file while it is open, dirty or leased. */
export interface FileData {
  /**
   * Up to `size` bytes as pieces, clipped to the file's size, holes as zeros. Sees what was written but not yet stored.
   * EINTR when `reader` is called back; what it waited for goes on.
   */
  read(offset: number, size: number, reader?: Interruptible): ReadBytes | Promise<ReadBytes>
  /** Accepts bytes into write-behind (copying them); waits when memory or granted space is used up. ENOSPC, EFBIG, EIO. */
  write(offset: number, data: Uint8Array): Promise<void> | void
  /**
   * As write, for bytes whose place depends on what is known now: false, and nothing is accepted, if it had to wait
   * and `holds` is false by then.
   */
  writeIf(offset: number, data: Uint8Array, holds: () => boolean): Promise<boolean> | boolean
  /**
   * Stores and commits `data` at the end that the file has at the master, after all that was accepted before, and
   * resolves with where that was: for who may not know where the file ends. As write, for how it fails.
   */
  append(data: Uint8Array): Promise<number>
  /** Everything accepted so far is stored on all replicas and committed. Rejects with what could not be (once per failure and handle: see takeError). */
  flush(): Promise<void>
  /** Nobody waits, but what is dirty is stored soon, with that of other files. */
  flushSoon(): void
  /**
   * A program sets mtime itself: what was accepted before no longer carries the time of its write. Called
   * synchronously before the SetAttr is sent, so that a later commit cannot undo an utimensat.
   */
  mtimeSet(): void
  /** The error of an earlier write-back that nobody heard of yet, cleared by asking. */
  takeError(): Error | undefined
  /** Forgets accepted bytes from `size` on and waits for write-back under way: before a truncation is sent. */
  discardFrom(size: number): Promise<void>
  /**
   * The session under which it was accepted died, and others may have changed the file since: whatever is not committed
   * is dropped, and nothing of it is stored any more. Who waits for it hears `why`; others are for the caller to tell.
   */
  abandon(why: FsError): void
  /** Forgets cached extents and clean bytes kept for appends (and clean bytes are reached by block id, so they stay valid). After a command changed them, or a lease went. */
  forgetExtents(): void
  /**
   * As discardFrom, for a truncation: until `cutEnded` the file looks as long as it was, and who reads it waits if
   * bytes of it went. Resolves with how many accepted bytes that were.
   */
  cutTo(size: number): Promise<number>
  /** Before `cutEnded`: the truncation certainly did not happen, so these bytes are here again. False if they cannot be. */
  cutRefused(): boolean
  /** The master has the size to which the file was cut, or will not have it. */
  cutEnded(): void
  /** Forgets clean bytes kept for appends: others may change them. Before each write that no write lease covers. */
  dropClean(): void
  /** SEEK_DATA or SEEK_HOLE over committed extents and accepted bytes; ENXIO. */
  seek(offset: number, whence: 'data' | 'hole'): Promise<number>
  /** Attributes as this mount's programs see them: the committed ones with accepted bytes counted in (size, mtime, allocated). */
  overlay(committed: Attr): Attr
  readonly dirtyBytes: number
}

export interface DataPath {
  /** The state of a file, made on first use. `attr` tells its size. */
  file(ino: Ino): FileData
  /** As `file`, but only if it has state already. */
  known(ino: Ino): FileData | undefined
  /**
   * Brings what is committed of small files into the cache, without anybody waiting for it. `size` is that of each;
   * they are under a lease and have no state yet.
   */
  prefetch(files: readonly { readonly ino: Ino; readonly size: number }[]): void
  /**
   * The last handle was closed: what is dirty is stored soon, and what is known of the file kept for a while.
   */
  closed(ino: Ino): void
  /** The file is closed, clean and not leased: its state may go. */
  release(ino: Ino): void
  /** Everything dirty of the mount. */
  flushAll(): Promise<void>
  /** As flushAll, but nobody waits: errors are kept for who asks. */
  writeBackAll(): void
  /** Files whose write-back failed, and of which nobody has heard that. */
  failed(): Iterable<Ino>
  readonly dirtyBytes: number
  readonly traffic: DataTraffic
  /** Stores everything dirty, tried again for a while, and ends. Rejects, having ended, with what is lost. */
  close(): Promise<void>
}

/** What the data path asks of the metadata side. */
export interface AttrPort {
  /** The last committed attributes known under a lease, else asked for. */
  committed(ino: Ino): Attr | Promise<Attr>
  /**
   * What `committed` has resolved with, or what has become known since: a commit may have been answered between that
   * and now, and what it stored is not dirty any more.
   */
  latest(resolved: Attr): Attr
  /** Undefined for an inode that the master has; else resolves when it has it, rejects if it never will, or with ETIMEDOUT. */
  creation(ino: Ino): Promise<void> | undefined
  /** Nobody else may read or write the file before we have stored what we accept. */
  isAlone(ino: Ino): boolean
  /** Attributes that came back with a commit; `early`: other mounts may not know of it yet. */
  noteCommitted(attr: Attr, early: boolean): void
  /** The kernel keeps pages of what is written to the file. */
  keepsPages(ino: Ino): boolean
}
