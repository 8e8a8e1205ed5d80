import type { Attr, AttrChange, Dirent, LockRange, StatFs } from '../core/attr.ts'
import type { Ino } from '../core/ids.ts'
import type { Name } from '../core/name.ts'
import type { ReadBytes } from '../core/read-bytes.ts'

/**
 * The file system that a FUSE driver serves: inode-based and free of FUSE's numbers. Both drivers
 * call it, mount/ implements it over the client, tests implement it in memory.
 *
 * Every method throws (or rejects with) FsError; anything else is a bug and answered EIO. A method
 * that can answer at once returns a plain value, since a promise costs a turn of the event loop.
 * The kernel checks permissions (default_permissions); methods do not.
 */
export type Answer<T> = T | Promise<T>

/** Who asks. */
export interface Caller {
  readonly uid: number
  readonly gid: number
  readonly pid: number
  /** Aborted when the kernel sends INTERRUPT for this request. Made on first use. */
  readonly signal: AbortSignal
}

/** An inode that the kernel will remember (until `forget`) and for how long it may trust what it was told. */
export interface Entry {
  readonly attr: Attr
  /** Milliseconds for which the name, and the attributes, need not be asked for again. */
  readonly nameTtlMs: number
  readonly attrTtlMs: number
}

/** That a name does not exist, and for how long that may be trusted. */
export interface Absent {
  readonly attr: undefined
  readonly nameTtlMs: number
}

export interface AttrAnswer {
  readonly attr: Attr
  readonly attrTtlMs: number
}

/** An open file or directory, a number of the implementation's choosing. */
export type Handle = bigint

export interface Opened {
  readonly handle: Handle
  /** Keep the pages that the kernel has cached from earlier opens. */
  readonly keepCache?: boolean
  /** Every read and write comes through, the page cache is not used (mmap still works). */
  readonly directIo?: boolean
  /** Keep a directory's cached listing, and fill it (directories only). */
  readonly cacheDirectory?: boolean
  readonly nonSeekable?: boolean
  /** The kernel need not send FLUSH for this handle. */
  readonly noFlush?: boolean
}

/** What open(2) asked for. O_CREAT, O_EXCL and O_NOCTTY never arrive here. */
export interface OpenFlags {
  readonly read: boolean
  readonly write: boolean
  readonly append: boolean
  readonly truncate: boolean
  /** O_SYNC or O_DSYNC: each write returns only when it is on stable storage. */
  readonly sync: boolean
  readonly direct: boolean
  readonly noAtime: boolean
  /** The kernel asks that setuid/setgid be cleared (truncate by a non-owner). */
  readonly killSuidgid: boolean
}

/** A whiteout in place of the old name belongs to the caller. */
export type RenameMode = 'replace' | 'noreplace' | 'exchange' | 'whiteout' | 'noreplace-whiteout'

/** How a new inode is to be made. The umask is not applied yet, since a default ACL replaces it. */
export interface NewInode {
  /** Type and permission bits. */
  readonly mode: number
  readonly umask: number
  readonly rdev: number
}

export interface WriteFlags {
  /** From the page cache (writeback of a mapping), not from a write(2): the caller is unknown. */
  readonly fromCache: boolean
  readonly append: boolean
  readonly sync: boolean
  readonly killSuidgid: boolean
}

export interface FallocateMode {
  readonly keepSize: boolean
  readonly punchHole: boolean
  readonly zeroRange: boolean
}

/**
 * Takes directory entries until the kernel's buffer is full: false means "not taken, stop". With
 * readdirplus the entry is also a lookup, counted by the kernel if the sink took it, except for . and ..
 * (pass none for these); without an Entry the kernel learns just the name.
 */
export type DirentSink = (dirent: Dirent, entry?: Entry) => boolean

export interface FileSystem {
  /** The inode of the mount's root; 1 if it is not said. The kernel calls it 1 in any case. */
  readonly root?: Ino
  lookup(parent: Ino, name: Name, caller: Caller): Answer<Entry | Absent>
  /** What a file handle that the kernel no longer knows leads to: the inode of this number. ESTALE if it is gone. */
  lookupSelf(ino: Ino, caller: Caller): Answer<Entry>
  /** The directory that a directory is in. */
  lookupParent(ino: Ino, caller: Caller): Answer<Entry>
  /** The kernel drops `count` lookups of the inode. */
  forget(ino: Ino, count: number): void
  getattr(ino: Ino, handle: Handle | undefined, caller: Caller): Answer<AttrAnswer>
  setattr(ino: Ino, change: AttrChange, handle: Handle | undefined, caller: Caller): Answer<AttrAnswer>
  /** The target as bytes, in a byte string. */
  readlink(ino: Ino, caller: Caller): Answer<Name>
  /** Makes a file, directory, FIFO, socket or device node. */
  mknod(parent: Ino, name: Name, how: NewInode, caller: Caller): Answer<Entry>
  mkdir(parent: Ino, name: Name, how: NewInode, caller: Caller): Answer<Entry>
  symlink(parent: Ino, name: Name, target: Name, caller: Caller): Answer<Entry>
  link(ino: Ino, parent: Ino, name: Name, caller: Caller): Answer<Entry>
  unlink(parent: Ino, name: Name, caller: Caller): Answer<void>
  rmdir(parent: Ino, name: Name, caller: Caller): Answer<void>
  rename(
    parent: Ino,
    name: Name,
    newParent: Ino,
    newName: Name,
    mode: RenameMode,
    caller: Caller,
  ): Answer<void>

  open(ino: Ino, flags: OpenFlags, caller: Caller): Answer<Opened>
  /** Makes (unless it exists and `exclusive` is false) and opens a regular file. */
  create(
    parent: Ino,
    name: Name,
    how: NewInode,
    flags: OpenFlags,
    exclusive: boolean,
    caller: Caller,
  ): Answer<{ readonly entry: Entry; readonly opened: Opened }>
  /** An open file without a name (O_TMPFILE). */
  tmpfile(
    parent: Ino,
    how: NewInode,
    flags: OpenFlags,
    caller: Caller,
  ): Answer<{ readonly entry: Entry; readonly opened: Opened }>
  /**
   * Up to `size` bytes, fewer only at the end of the file; as pieces, none of which is changed afterwards.
   * `fills`: they go to the page cache, and may be given to others from there; else to the caller alone.
   */
  read(
    ino: Ino,
    handle: Handle,
    offset: number,
    size: number,
    fills: boolean,
    caller: Caller,
  ): Answer<ReadBytes>
  /** All of `data` or an error. `data` is the driver's again when the answer is given: copy what is kept. */
  write(
    ino: Ino,
    handle: Handle,
    offset: number,
    data: Uint8Array,
    flags: WriteFlags,
    caller: Caller,
  ): Answer<number>
  /** A descriptor was closed: reports errors of earlier writes; POSIX locks of the owner end. */
  flush(ino: Ino, handle: Handle, lockOwner: bigint, caller: Caller): Answer<void>
  fsync(ino: Ino, handle: Handle, dataOnly: boolean, caller: Caller): Answer<void>
  /** The last descriptor was closed. `flockOwner` if the handle held a flock. Nobody hears of an error. */
  release(ino: Ino, handle: Handle, flockOwner: bigint | undefined): Answer<void>

  opendir(ino: Ino, caller: Caller): Answer<Opened>
  /** Lists from after `cookie` (0: from the start, beginning with . and ..) until the sink is full. */
  readdir(
    ino: Ino,
    handle: Handle,
    cookie: bigint,
    plus: boolean,
    sink: DirentSink,
    caller: Caller,
  ): Answer<void>
  /** fsync of the mount's root directory writes back everything of the mount. */
  fsyncdir(ino: Ino, handle: Handle, dataOnly: boolean, caller: Caller): Answer<void>
  releasedir(ino: Ino, handle: Handle): Answer<void>

  statfs(caller: Caller): Answer<StatFs>
  /** Undefined: there is none (ENODATA). */
  getxattr(ino: Ino, name: Name, caller: Caller): Answer<Uint8Array | undefined>
  setxattr(
    ino: Ino,
    name: Name,
    value: Uint8Array,
    mode: 'set' | 'create' | 'replace',
    /** The kernel asks that setgid be cleared with this ACL (FUSE_SETXATTR_ACL_KILL_SGID). */
    killSgid: boolean,
    caller: Caller,
  ): Answer<void>
  listxattr(ino: Ino, caller: Caller): Answer<readonly Name[]>
  removexattr(ino: Ino, name: Name, caller: Caller): Answer<void>

  /** The first lock in the way of `range`, or undefined; for kind 'unlock' the first of the owner itself. */
  getlk(
    ino: Ino,
    handle: Handle,
    owner: bigint,
    range: Omit<LockRange, 'kind'> & { readonly kind: LockRange['kind'] | 'unlock' },
    caller: Caller,
  ): Answer<LockRange | undefined>
  /**
   * Takes or (kind 'unlock') gives up a lock. With `wait` until it is free or the caller's signal
   * aborts (EINTR); else EAGAIN. `flock` locks and POSIX locks do not see each other.
   */
  setlk(
    ino: Ino,
    handle: Handle,
    owner: bigint,
    range: Omit<LockRange, 'kind'> & { readonly kind: LockRange['kind'] | 'unlock' },
    flock: boolean,
    wait: boolean,
    caller: Caller,
  ): Answer<void>

  fallocate(
    ino: Ino,
    handle: Handle,
    offset: number,
    length: number,
    mode: FallocateMode,
    caller: Caller,
  ): Answer<void>
  /** SEEK_DATA and SEEK_HOLE: the offset found, ENXIO past the end. */
  lseek(ino: Ino, handle: Handle, offset: number, whence: 'data' | 'hole', caller: Caller): Answer<number>
  /** Bytes copied, which may be fewer than asked. */
  copyFileRange(
    from: { readonly ino: Ino; readonly handle: Handle; readonly offset: number },
    to: { readonly ino: Ino; readonly handle: Handle; readonly offset: number },
    length: number,
    caller: Caller,
  ): Answer<number>

  /**
   * The kernel has unmounted the file system, or the device is gone. Writes back what is left. Handles may
   * still be open: the kernel drops RELEASEs that are under way at the end of a lazy unmount.
   */
  destroy(): Promise<void>
}

/**
 * How the file system tells the kernel to forget. Does not block the caller: a dedicated thread
 * writes the notifications, since the kernel may hold the locks they need while it waits for an
 * answer of ours (see docs/design.md, Coherence). The promise resolves when the kernel has done it.
 */
export interface Notifier {
  /** Attributes, and the pages from `offset` (length <= 0: to the end; offset < 0: attributes only). */
  invalidateInode(ino: Ino, offset: number, length: number): Promise<void>
  invalidateEntry(parent: Ino, name: Name): Promise<void>
  /** Every name of the mount is to be looked up again; takes no lock. False if the kernel is older than 7.44. */
  invalidateAllNames(): Promise<boolean>
  /**
   * Attributes, by the caller's own thread. Only of an inode that a request under way refers to: the kernel waits for
   * one that it is about to forget, which may wait for us.
   */
  invalidateAttributesNow(ino: Ino): void
  /** As invalidateAllNames, by the caller's own thread: it takes no lock. */
  invalidateAllNamesNow(): void
}
