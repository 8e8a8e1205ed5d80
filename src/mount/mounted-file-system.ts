import {
  S_IXGRP,
  isDirectory,
  type Attr,
  type AttrChange,
  type LockRange,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  S_ISGID,
  S_ISUID,
  type StatFs,
} from '../core/attr.ts'
import type { Env } from '../core/env.ts'
import { FsError, messageOf } from '../core/errors.ts'
import type { Ino } from '../core/ids.ts'
import { type Name, nameFromText } from '../core/name.ts'
import type { ReadBytes } from '../core/read-bytes.ts'
import { second } from '../core/units.ts'
import type { Files } from '../client/files.ts'
import { chain, mustBeOurs } from '../client/files/context.ts'
import type { OpenedFile, OpenFile } from '../client/files/handles.ts'
import type {
  Absent,
  Answer,
  AttrAnswer,
  Caller,
  DirentSink,
  Entry,
  FallocateMode,
  FileSystem,
  Handle,
  NewInode,
  Notifier,
  Opened,
  OpenFlags,
  RenameMode,
  WriteFlags,
} from '../fuse/filesystem.ts'
import { KernelCache } from './kernel-cache.ts'
import { Reader } from './reader.ts'

/** What is known of this machine's processes and threads. */
export interface Processes {
  /** The supplementary groups, none if they cannot be known. */
  readonly groupsOf: (pid: number) => readonly number[]
  /** Whether it is being killed; false if that cannot be known. */
  readonly isKilled: (pid: number) => boolean
}

/** What the kernel is told is good for at most this long, however long the lease. */
const ttlMaxMs = 30 * second

const trusted = 'trusted.'
const capability = nameFromText('security.capability')

/**
 * Shows the client's files to a FUSE driver. Keeps nothing: it adds for how long the kernel may
 * believe an answer, which is never longer than the lease that it rests on, and asks the kernel to
 * forget when the lease goes.
 */
export class MountedFileSystem implements FileSystem {
  readonly #env: Env
  readonly #files: Files
  /** Without a way to have the kernel forget names at once, it is not to remember any. */
  readonly #keepsNames: boolean
  readonly #processes: Processes
  /** Whose capabilities were removed last, and by whom. */
  #uncapped: { readonly ino: Ino; readonly pid: number } | undefined

  /** `keepsNames`: Notifier.invalidateAllNames works on this kernel. */
  constructor(env: Env, files: Files, notifier: Notifier, keepsNames: boolean, processes: Processes) {
    this.#env = env
    this.#files = files
    this.#keepsNames = keepsNames
    this.#processes = processes
    files.attachKernel(new KernelCache(env, notifier, files.root))
  }

  get root(): Ino {
    return this.#files.root
  }

  lookup(parent: Ino, name: Name): Answer<Entry | Absent> {
    return chain(this.#files.names.lookup(parent, name), attr =>
      attr === undefined
        ? { attr: undefined, nameTtlMs: this.#nameTtl(parent, name, null) }
        : this.#entry(parent, name, attr),
    )
  }

  lookupSelf(ino: Ino): Answer<Entry> {
    return chain(this.#files.names.self(ino), attr => ({ ...this.#attrAnswer(attr), nameTtlMs: 0 }))
  }

  lookupParent(ino: Ino): Answer<Entry> {
    return chain(this.#files.listings.parent(ino), parent => this.lookupSelf(parent))
  }

  forget(ino: Ino): void {
    this.#files.removals.forgotten(ino)
  }

  getattr(ino: Ino): Answer<AttrAnswer> {
    return chain(this.#files.attributes.get(ino), attr => this.#attrAnswer(attr))
  }

  setattr(ino: Ino, change: AttrChange, _handle: Handle | undefined, caller: Caller): Answer<AttrAnswer> {
    const writers = this.#files.cache.get(ino)?.writers ?? 0
    // A change that names nothing is chown(2) with -1 for both, or what the kernel sends before a write that
    // takes privileges. Only the second may come from somebody else than the owner, and needs a writable handle.
    const nothing = Object.keys(change).length === 0
    // A write of root's takes only capabilities, which the kernel has just removed.
    if (nothing && writers > 0 && !mustDropPrivileges(caller) && this.#uncapped?.ino === ino) {
      const { pid } = this.#uncapped
      this.#uncapped = undefined
      if (pid === caller.pid) return this.getattr(ino)
    }
    // For a truncation the kernel says it of who has not the right to keep them, whatever the uid.
    if (!mustDropPrivileges(caller) && (change.size === undefined || change.killSuidgid !== true))
      return this.#setattr(ino, change)
    if (nothing && writers === 0)
      return chain(this.#files.attributes.committed(ino), attr => this.#chownToSame(attr, caller))
    const takes = nothing || (change.killSuidgid === true && change.mode === undefined)
    if (!takes) return this.#setattr(ino, change)
    return chain(this.#dropForeignSetgid(ino, caller), () => this.#setattr(ino, change))
  }

  /** chown(2) with -1 for both takes privileges, too, and where there are some it is for the owner only. */
  #chownToSame(attr: Attr, caller: Caller): Answer<AttrAnswer> {
    const privileged = (attr.mode & S_ISUID) !== 0 || this.#losesSetgid(attr, caller)
    if (privileged && !isDirectory(attr.mode) && caller.uid !== attr.uid)
      throw new FsError('EPERM', `inode ${attr.ino} is not the caller's`)
    return chain(this.#dropSetgidOf(attr, caller), () => this.#setattr(attr.ino, {}))
  }

  #setattr(ino: Ino, change: AttrChange): Answer<AttrAnswer> {
    return chain(this.#files.attributes.set(ino, change), attr => this.#attrAnswer(attr))
  }

  readlink(ino: Ino): Answer<Name> {
    return this.#files.names.readlink(ino)
  }

  mknod(parent: Ino, name: Name, how: NewInode, caller: Caller): Promise<Entry> {
    return this.#make(parent, name, how, caller)
  }

  mkdir(parent: Ino, name: Name, how: NewInode, caller: Caller): Promise<Entry> {
    return this.#make(parent, name, { ...how, mode: ofType(S_IFDIR, how.mode) }, caller)
  }

  async symlink(parent: Ino, name: Name, target: Name, { uid, gid }: Caller): Promise<Entry> {
    return this.#entry(parent, name, await this.#files.names.symlink(parent, name, target, { uid, gid }))
  }

  async link(ino: Ino, parent: Ino, name: Name): Promise<Entry> {
    return this.#entry(parent, name, await this.#files.names.link(ino, parent, name))
  }

  unlink(parent: Ino, name: Name): Promise<void> {
    return this.#files.names.remove(parent, name, false)
  }

  rmdir(parent: Ino, name: Name): Promise<void> {
    return this.#files.names.remove(parent, name, true)
  }

  rename(
    parent: Ino,
    name: Name,
    newParent: Ino,
    newName: Name,
    mode: RenameMode,
    { uid, gid }: Caller,
  ): Promise<void> {
    return this.#files.names.rename(parent, name, newParent, newName, mode, { uid, gid })
  }

  async open(ino: Ino, flags: OpenFlags, caller: Caller): Promise<Opened> {
    if (flags.truncate && flags.killSuidgid) await this.#dropForeignSetgid(ino, caller)
    return openedFor(await this.#files.handles.open(ino, flags))
  }

  async create(
    parent: Ino,
    name: Name,
    how: NewInode,
    flags: OpenFlags,
    exclusive: boolean,
    { uid, gid }: Caller,
  ): Promise<{ readonly entry: Entry; readonly opened: Opened }> {
    const made = { ...how, mode: ofType(S_IFREG, how.mode), uid, gid }
    const { attr, opened } = await this.#files.handles.create(parent, name, made, flags, exclusive)
    return { entry: this.#entry(parent, name, attr), opened: openedFor(opened) }
  }

  async tmpfile(
    parent: Ino,
    how: NewInode,
    flags: OpenFlags,
    { uid, gid }: Caller,
  ): Promise<{ readonly entry: Entry; readonly opened: Opened }> {
    const made = { ...how, mode: ofType(S_IFREG, how.mode), uid, gid }
    const { attr, opened } = await this.#files.handles.tmpfile(parent, made, flags)
    return { entry: { ...this.#attrAnswer(attr), nameTtlMs: 0 }, opened: openedFor(opened) }
  }

  read(
    _ino: Ino,
    handle: Handle,
    offset: number,
    size: number,
    fills: boolean,
    caller: Caller,
  ): Answer<ReadBytes> {
    const reader = new Reader(caller, this.#env.timers, this.#processes.isKilled)
    const found = this.#files.contents.read(this.#file(handle), offset, size, { fills, reader })
    return found instanceof Promise ? found.finally(() => reader.over()) : found
  }

  write(
    ino: Ino,
    handle: Handle,
    offset: number,
    data: Uint8Array,
    flags: WriteFlags,
    caller: Caller,
  ): Answer<number> {
    // Before a cached write the kernel has sent a change of attributes, which says nothing of a root that lacks
    // CAP_FSETID; this flag does.
    if (flags.killSuidgid && (caller.uid === 0 || passesPages(this.#files.handles.get(handle)))) {
      const dropped = this.#dropForeignSetgid(ino, caller)
      if (dropped !== undefined)
        return dropped.then(() => this.#files.contents.write(this.#file(handle), offset, data, flags))
    }
    return this.#files.contents.write(this.#file(handle), offset, data, flags)
  }

  flush(_ino: Ino, handle: Handle, lockOwner: bigint): Answer<void> {
    return this.#files.handles.flush(handle, lockOwner)
  }

  fsync(_ino: Ino, handle: Handle): Promise<void> {
    return this.#files.handles.fsync(handle)
  }

  release(_ino: Ino, handle: Handle, flockOwner: bigint | undefined): void {
    this.#files.handles.release(handle, flockOwner)
  }

  opendir(ino: Ino): Opened {
    return { handle: this.#files.listings.open(ino) }
  }

  readdir(ino: Ino, handle: Handle, cookie: bigint, plus: boolean, sink: DirentSink): Promise<void> {
    return this.#files.listings.list(handle, cookie, plus, (dirent, attr) =>
      attr === undefined ? sink(dirent) : sink(dirent, this.#entry(ino, dirent.name, attr)),
    )
  }

  /** On the root it is the sync of the mount. */
  fsyncdir(ino: Ino): Answer<void> {
    return ino === this.root ? this.#files.flushAll() : this.#files.syncDirectory(ino)
  }

  releasedir(_ino: Ino, handle: Handle): void {
    this.#files.listings.release(handle)
  }

  statfs(): Promise<StatFs> {
    return this.#files.attributes.statfs()
  }

  getxattr(ino: Ino, name: Name): Answer<Uint8Array | undefined> {
    return this.#files.xattrs.get(ino, name)
  }

  setxattr(
    ino: Ino,
    name: Name,
    value: Uint8Array,
    mode: 'set' | 'create' | 'replace',
    killSgid: boolean,
  ): Promise<void> {
    return this.#files.xattrs.set(ino, name, value, mode, killSgid)
  }

  /** Those of trusted.* are for who may read them. */
  listxattr(ino: Ino, caller: Caller): Answer<readonly Name[]> {
    return chain(this.#files.xattrs.list(ino), names =>
      caller.uid === 0 ? names : names.filter(name => !name.startsWith(trusted)),
    )
  }

  removexattr(ino: Ino, name: Name, { pid }: Caller): Promise<void> {
    if (name === capability) this.#uncapped = { ino, pid }
    return this.#files.xattrs.remove(ino, name)
  }

  getlk(
    ino: Ino,
    _handle: Handle,
    owner: bigint,
    range: Parameters<Files['locks']['get']>[2],
  ): Promise<LockRange | undefined> {
    return this.#files.locks.get(ino, { owner, flock: false }, range)
  }

  setlk(
    ino: Ino,
    handle: Handle,
    owner: bigint,
    range: Omit<LockRange, 'kind'> & { readonly kind: LockRange['kind'] | 'unlock' },
    flock: boolean,
    wait: boolean,
    caller: Caller,
  ): Promise<void> {
    const signal = wait ? caller.signal : undefined
    return this.#files.locks.set(ino, handle, { owner, flock }, range, wait, signal)
  }

  async fallocate(
    ino: Ino,
    handle: Handle,
    offset: number,
    length: number,
    mode: FallocateMode,
    caller: Caller,
  ): Promise<void> {
    const file = this.#file(handle)
    if (mustDropPrivileges(caller)) await this.#dropForeignSetgid(ino, caller)
    await this.#files.contents.allocate(file, offset, length, mode, mustDropPrivileges(caller))
  }

  lseek(_ino: Ino, handle: Handle, offset: number, whence: 'data' | 'hole'): Promise<number> {
    return this.#files.contents.lseek(this.#files.handles.get(handle), offset, whence)
  }

  async copyFileRange(
    from: { readonly handle: Handle; readonly offset: number },
    to: { readonly ino: Ino; readonly handle: Handle; readonly offset: number },
    length: number,
    caller: Caller,
  ): Promise<number> {
    if (mustDropPrivileges(caller)) await this.#dropForeignSetgid(to.ino, caller)
    return await this.#files.contents.copy(
      { file: this.#file(from.handle), offset: from.offset },
      { file: this.#file(to.handle), offset: to.offset },
      length,
      { killSuidgid: mustDropPrivileges(caller), signal: caller.signal },
    )
  }

  async destroy(): Promise<void> {
    try {
      await this.#files.close()
    } catch (thrown) {
      this.#env.log.error('Not everything could be stored before the mount ended', {
        why: messageOf(thrown),
      })
    }
  }

  /** An open file, to be read or changed. */
  #file(handle: Handle): OpenFile {
    const file = this.#files.handles.get(handle)
    mustBeOurs(file.node)
    this.#files.locks.check(file.node.ino, handle)
    return file
  }

  /**
   * Setgid of a file that its group may not execute stays when a member of that group changes the file, and
   * goes when anybody else does (as setattr_should_drop_sgid in fs/attr.c).
   */
  #dropForeignSetgid(ino: Ino, caller: Caller): Promise<unknown> | undefined {
    const attr = this.#files.attributes.committed(ino)
    if (attr instanceof Promise) return attr.then(known => this.#dropSetgidOf(known, caller))
    return this.#dropSetgidOf(attr, caller)
  }

  #dropSetgidOf(attr: Attr, caller: Caller): Promise<unknown> | undefined {
    if ((attr.mode & S_IXGRP) !== 0 || isDirectory(attr.mode) || !this.#losesSetgid(attr, caller))
      return undefined
    const mode = attr.mode & 0o7777 & ~(S_ISUID | S_ISGID)
    return Promise.resolve(this.#files.attributes.set(attr.ino, { mode }))
  }

  /** The kernel tells the group of the caller only; the others, which are seldom needed, are looked up. */
  #losesSetgid(attr: Attr, caller: Caller): boolean {
    if ((attr.mode & S_ISGID) === 0) return false
    if ((attr.mode & S_IXGRP) !== 0) return true
    return caller.gid !== attr.gid && !this.#processes.groupsOf(caller.pid).includes(attr.gid)
  }

  async #make(parent: Ino, name: Name, how: NewInode, { uid, gid }: Caller): Promise<Entry> {
    return this.#entry(parent, name, await this.#files.names.make(parent, name, { ...how, uid, gid }))
  }

  #entry(parent: Ino, name: Name, attr: Attr): Entry {
    return { ...this.#attrAnswer(attr), nameTtlMs: this.#nameTtl(parent, name, attr.ino) }
  }

  /** What is not in the cache may be older than what is: it is true, but not to be kept. */
  #nameTtl(parent: Ino, name: Name, ino: Ino | null): number {
    const { cache } = this.#files
    if (!this.#keepsNames || cache.name(parent, name) !== ino) return 0
    return cache.ttlMs(cache.get(parent), ttlMaxMs)
  }

  #attrAnswer(attr: Attr): AttrAnswer {
    const { cache } = this.#files
    const known = cache.attr(attr.ino) !== undefined
    return { attr, attrTtlMs: known ? cache.ttlMs(cache.get(attr.ino), ttlMaxMs) : 0 }
  }
}

function openedFor({ file, keepCache }: OpenedFile): Opened {
  return { handle: file.handle, keepCache, directIo: passesPages(file) }
}

/**
 * The kernel puts an append into its pages where it believes the end to be, which may be an old one: it is to
 * keep none of what is appended.
 */
const passesPages = ({ directIo, how }: OpenFile): boolean => directIo || how.append

/** The kernel sends the type with the mode only where it is not clear from the operation. */
const ofType = (type: number, mode: number): number => (mode & ~S_IFMT) | type

/** The kernel leaves it to us to clear setuid and setgid here, and does not say who may keep them. */
const mustDropPrivileges = (caller: Caller): boolean => caller.uid !== 0
