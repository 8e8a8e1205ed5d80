import { type Attr, isDirectory } from '../../core/attr.ts'
import type { FsError } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import type { Name } from '../../core/name.ts'
import type { Lease } from '../../wire/attr.ts'
import type { Listing } from './listing.ts'
import { Turns } from './turns.ts'

/** How far the attributes of a directory's entries were asked for many at a time, in the order of cookies. */
export interface AttrsAhead {
  /** The master's cookie of the last entry asked for. */
  after: bigint
  /** Entries that may be asked for beyond need: earned by use. */
  credit: number
  fetching: Promise<void> | undefined
}

/** See files/losses.ts. */
interface Losses {
  count: number
  last: FsError | undefined
  unheard: boolean
}

const noLosses: Readonly<Losses> = { count: 0, last: undefined, unheard: false }

/**
 * What this mount knows of one inode. Nothing of it is authoritative: what is cached may be used
 * while a lease is held, and is dropped with it; the rest is what programs here have open.
 */
export class Inode {
  readonly ino: Ino
  #lease: Lease = 'none'
  /**
   * Of a directory, the time for which its write lease has been held without a break: nobody else could look into it.
   * An object of its own.
   */
  tenure: object | undefined
  /** While the lease was held, there was a time without any other mount: `soleIn` says what that means. */
  alone = false
  /** The tenure of the directory under which nobody else can have had anything of this inode. */
  within: object | undefined
  /** It has, or had, several names, so that it may be known by another one. */
  #severalNames = false

  // ---- cached under the lease

  /** As committed at the master; what is shown has dirty data and pending times counted in. */
  #attr: Attr | undefined
  /** Known as soon as anything is, and for ever. */
  #isDirectory = false
  /** When a command last told something of this inode, as InodeCache counts. Older answers are stale. */
  changed = 0
  /** Names of a directory: the inode, or null where there is certainly none. */
  names: Map<Name, Ino | null> | undefined
  /** `names` has every name that there is: another is certainly absent. */
  complete = false
  /** Names that commands of ours changed while the directory is read to make `names` complete. */
  filling: Map<Name, Ino | null> | undefined
  /** Names that were asked for and are not there. */
  misses = 0
  /** With all names, but for those that the master has yet to make. */
  listing: Listing | undefined
  /** Those: their places in the list are not known. */
  unlisted = 0
  attrsAhead: AttrsAhead | undefined
  target: Name | undefined
  xattrs: ReadonlyMap<Name, Uint8Array | null> | undefined
  xattrNames: readonly Name[] | undefined
  /** A directory without a default ACL. */
  plain = false
  /** Pages that the kernel may still have from earlier opens are those of the file. */
  pagesValid = false

  // ---- open here

  /** Handles, and of those the ones that write. */
  opens = 0
  writers = 0
  /** Of the ones that write, those through the page cache of the kernel. */
  cachedWriters = 0
  /** It has no name any more. */
  removed = false
  /** Extended attributes that programs gave it after that. */
  ownXattrs: Map<Name, Uint8Array> | undefined
  /** The master keeps it for us until CloseOrphan. */
  orphaned = false
  /** It is being given up, which may take storing what was written: recalls still find it. */
  discarding = false
  /** The kernel does not know it any more. */
  forgotten = false
  /** The session died under which the master kept it for us: it is EIO to who has it open. */
  forfeited = false
  /** The master has yet to make it. Rejects, for ever, if that failed. */
  creation: Promise<void> | undefined
  /** Changes of it, or of names in it, that the master has yet to make: `attr` is ahead of what it says. */
  promised = 0
  /** Links by promised subdirectories that the master does not count yet; less than 0: more of them went. */
  linksToCome = 0
  /** Changes of its attributes among those, and all that they set. */
  settings = 0
  setting: Partial<Attr> | undefined
  /** Changes of it, or of names in it, that were sent to the master and are not answered (whileChanging). */
  changing = 0
  /** An access time that programs see and the master will be told of soon. */
  atime: bigint | undefined
  /** Written data of a dead session, which nobody has been told of. */
  lost: FsError | undefined
  #losses: Losses | undefined
  /** While its last name goes, nobody opens it: the master was told whether it is open. */
  removal: Promise<unknown> | undefined
  /** While it gets a name, which may be its first: until then it is not given up. */
  linking: Promise<unknown> | undefined
  #turns: Turns | undefined

  // ---- recalls

  /** A recall is being answered: what is said now may be true for a moment only. */
  recalling = false
  /** Truncations that the kernel asked for and that are not answered: until then it writes no page back. */
  truncating = 0
  /** A recall was answered although the kernel has not forgotten: it does when a truncation is over. */
  forgetting = false
  /** Requests under way that leave pages in the kernel, those answered since the last invalidation, and ever. */
  reading = 0
  served = 0
  fills = 0
  /** While the write lease ends: a write waits for it. */
  holdBack: Promise<void> | undefined
  /** Pages were written back that may not be stored yet. */
  laundered = false
  /** A commit was answered before all others had dropped what was there: who waits for it waits for that, too. */
  settling: Promise<void> | undefined
  /** The write lease is being asked for again; and when, on the clock, it may be. */
  regaining = false
  regainFrom = 0

  /** Used since the sweep last came by. */
  touched = true

  constructor(ino: Ino) {
    this.ino = ino
  }

  // Few inodes have any: made when they are needed.

  get losses(): Readonly<Losses> {
    return this.#losses ?? noLosses
  }

  get ownLosses(): Losses {
    return (this.#losses ??= { ...noLosses })
  }

  get turns(): Turns {
    return (this.#turns ??= new Turns())
  }

  get attr(): Attr | undefined {
    return this.#attr
  }

  set attr(attr: Attr | undefined) {
    this.#attr = attr
    if (attr === undefined) return
    this.#isDirectory = isDirectory(attr.mode)
    if (attr.nlink > 1) this.#severalNames = true
  }

  get lease(): Lease {
    return this.#lease
  }

  set lease(lease: Lease) {
    if (lease !== 'write') this.tenure = undefined
    else this.tenure ??= {}
    if (lease === 'none' || (lease === 'read' && this.#lease === 'write')) this.alone = false
    this.#lease = lease
  }

  /**
   * Whether no other mount can have this inode, whose only name is in the directory: neither a lease, nor open. It
   * was made here since others could last look into the directory; or nobody else was there when, or since, that was so.
   */
  soleIn(directory: Inode): boolean {
    if (directory.tenure === undefined || this.#severalNames || this.attr?.nlink !== 1) return false
    return this.within === directory.tenure || (directory.alone && this.alone && this.lease !== 'none')
  }

  /** As soleIn, of a directory. */
  soleDirectoryIn(directory: Inode): boolean {
    if (directory.tenure === undefined || this.lease !== 'write') return false
    return this.within === directory.tenure || (directory.alone && this.alone)
  }

  /**
   * Nobody has it any more: `attr` is the last word about it. An orphan is not gone: other mounts may have it
   * open, too, so it is asked about and leased like any other inode.
   */
  get gone(): boolean {
    return this.removed && !this.orphaned
  }

  /** Something of it is under way that ends by itself soon. */
  get isBusy(): boolean {
    return (
      this.removal !== undefined ||
      this.linking !== undefined ||
      this.creation !== undefined ||
      this.settling !== undefined ||
      this.promised + this.changing + this.truncating + this.reading > 0 ||
      this.discarding ||
      this.forgetting ||
      this.regaining ||
      this.#turns?.idle === false
    )
  }

  /** Number of names held, for the bound on them. */
  get nameCount(): number {
    return (this.names?.size ?? 0) + (this.listing?.length ?? 0)
  }

  /** It was known before, of an inode of which nothing else is known now. */
  noteDirectory(): void {
    this.#isDirectory = true
  }

  get isDirectory(): boolean {
    return this.#isDirectory
  }
}
