import {
  type AttrChange,
  isDirectory,
  isRegular,
  type LockRange,
  S_IFDIR,
  S_IFLNK,
  S_ISGID,
  type StatFs,
} from '#src/core/attr.ts'
import { FsError } from '#src/core/errors.ts'
import { type Ino, ino, rootIno } from '#src/core/ids.ts'
import { fileBytesMax } from '#src/core/limits.ts'
import type { Name } from '#src/core/name.ts'
import { keptBytes, type ReadBytes } from '#src/core/read-bytes.ts'
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
  Opened,
  OpenFlags,
  RenameMode,
  WriteFlags,
} from '#src/fuse/filesystem.ts'
import { MemoryNode } from './memory-node.ts'

export interface MemoryOptions {
  /** For names and attributes. */
  readonly ttlMs?: number
  /** Waits before each read, write and lookup: answers then come in any order. */
  readonly before?: () => Promise<void> | undefined
  readonly directIo?: boolean
}

interface Open {
  readonly node: MemoryNode
  readonly flags: OpenFlags | undefined
}

const now = (): bigint => BigInt(Date.now()) * 1_000_000n

/** A small, honest file system, for tests of the driver. Without permissions, which the kernel checks. */
export class MemoryFileSystem implements FileSystem {
  readonly nodes = new Map<Ino, MemoryNode>()
  readonly opens = new Map<Handle, Open>()
  destroyed = false
  /** Calls by name, for tests that ask what reached the file system. */
  readonly calls = new Map<string, number>()
  readonly #options: MemoryOptions
  #nextIno = 2n
  #nextHandle = 1n
  #nextCookie = 3n

  constructor(options: MemoryOptions = {}) {
    this.#options = options
    this.nodes.set(rootIno, new MemoryNode(rootIno, S_IFDIR | 0o755, 0, 0, now()))
  }

  lookup(parent: Ino, name: Name, _caller: Caller): Answer<Entry | Absent> {
    this.#count('lookup')
    return this.#after(() => {
      const child = this.#directory(parent).children.get(name)
      return child === undefined ? { attr: undefined, nameTtlMs: this.#ttl } : this.#entry(child.node)
    })
  }

  lookupSelf(number: Ino): Answer<Entry> {
    return this.#entry(this.#node(number))
  }

  lookupParent(number: Ino): Answer<Entry> {
    const holds = (node: MemoryNode) => [...node.children.values()].some(child => child.node.ino === number)
    return this.#entry([...this.nodes.values()].find(holds) ?? this.#node(rootIno))
  }

  forget(number: Ino, count: number): void {
    const node = this.nodes.get(number)
    if (node === undefined) return
    node.lookups -= count
    this.#reap(node)
  }

  getattr(number: Ino, _handle: Handle | undefined): Answer<AttrAnswer> {
    this.#count('getattr')
    return this.#attr(this.#node(number))
  }

  setattr(number: Ino, change: AttrChange): Answer<AttrAnswer> {
    const node = this.#node(number)
    const time = now()
    if (change.size !== undefined) {
      if (change.size > fileBytesMax) throw new FsError('EFBIG')
      node.truncate(change.size)
      node.mtime = time
    }
    if (change.mode !== undefined) node.mode = node.type | change.mode
    if (change.uid !== undefined) node.uid = change.uid
    if (change.gid !== undefined) node.gid = change.gid
    if (change.atime !== undefined) node.atime = change.atime === 'now' ? time : change.atime
    if (change.mtime !== undefined) node.mtime = change.mtime === 'now' ? time : change.mtime
    if (change.killSuidgid === true) this.#killSuidgid(node)
    node.ctime = time
    return this.#attr(node)
  }

  readlink(number: Ino): Name {
    return this.#node(number).target
  }

  mknod(parent: Ino, name: Name, how: NewInode, caller: Caller): Entry {
    return this.#entry(this.#make(this.#directory(parent), name, how, caller))
  }

  mkdir(parent: Ino, name: Name, how: NewInode, caller: Caller): Entry {
    return this.mknod(parent, name, { ...how, mode: (how.mode & 0o7777) | S_IFDIR }, caller)
  }

  symlink(parent: Ino, name: Name, target: Name, caller: Caller): Entry {
    const how = { mode: S_IFLNK | 0o777, umask: 0, rdev: 0 }
    const node = this.#make(this.#directory(parent), name, how, caller)
    node.target = target
    return this.#entry(node)
  }

  link(number: Ino, parent: Ino, name: Name): Entry {
    const node = this.#node(number)
    this.#add(this.#directory(parent), name, node)
    node.nlink++
    node.ctime = now()
    return this.#entry(node)
  }

  unlink(parent: Ino, name: Name): void {
    const directory = this.#directory(parent)
    const node = this.#child(directory, name)
    if (isDirectory(node.mode)) throw new FsError('EISDIR')
    this.#remove(directory, name)
  }

  rmdir(parent: Ino, name: Name): void {
    const directory = this.#directory(parent)
    const node = this.#child(directory, name)
    if (!isDirectory(node.mode)) throw new FsError('ENOTDIR')
    if (node.children.size > 0) throw new FsError('ENOTEMPTY')
    this.#remove(directory, name)
  }

  rename(from: Ino, name: Name, to: Ino, newName: Name, mode: RenameMode): void {
    const source = this.#directory(from)
    const target = this.#directory(to)
    const node = this.#child(source, name)
    const over = target.children.get(newName)?.node
    if (mode.endsWith('whiteout')) throw new FsError('EINVAL')
    if (mode === 'noreplace' && over !== undefined) throw new FsError('EEXIST')
    if (over === node) return
    if (mode === 'exchange') {
      this.#detach(source, name)
      const other = this.#child(target, newName)
      this.#detach(target, newName)
      this.#add(target, newName, node)
      this.#add(source, name, other)
      return
    }
    if (over !== undefined) {
      if (isDirectory(node.mode) && !isDirectory(over.mode)) throw new FsError('ENOTDIR')
      if (!isDirectory(node.mode) && isDirectory(over.mode)) throw new FsError('EISDIR')
      if (over.children.size > 0) throw new FsError('ENOTEMPTY')
      this.#remove(target, newName)
    }
    this.#detach(source, name)
    this.#add(target, newName, node)
    node.ctime = now()
  }

  open(number: Ino, flags: OpenFlags): Opened {
    const node = this.#node(number)
    if (flags.truncate) {
      node.truncate(0)
      node.mtime = node.ctime = now()
    }
    if (flags.killSuidgid) this.#killSuidgid(node)
    return this.#opened(node, flags)
  }

  create(parent: Ino, name: Name, how: NewInode, flags: OpenFlags, exclusive: boolean, caller: Caller) {
    const directory = this.#directory(parent)
    const existing = directory.children.get(name)?.node
    if (existing !== undefined && exclusive) throw new FsError('EEXIST')
    const node = existing ?? this.#make(directory, name, how, caller)
    return { entry: this.#entry(node), opened: this.open(node.ino, flags) }
  }

  tmpfile(parent: Ino, how: NewInode, flags: OpenFlags, caller: Caller) {
    const node = this.#new(this.#directory(parent), how, caller)
    node.nlink = 0
    return { entry: this.#entry(node), opened: this.#opened(node, flags) }
  }

  read(number: Ino, handle: Handle, offset: number, size: number): Answer<ReadBytes> {
    this.#count('read')
    return this.#after(() => {
      this.#handle(handle)
      return keptBytes(this.#node(number).read(offset, size))
    })
  }

  write(number: Ino, handle: Handle, offset: number, data: Uint8Array, flags: WriteFlags): Answer<number> {
    this.#count('write')
    return this.#after(() => {
      const node = this.#node(number)
      if (!flags.fromCache) this.#handle(handle)
      const at = flags.append ? node.size : offset
      if (at + data.length > fileBytesMax) throw new FsError('EFBIG')
      node.write(at, data)
      node.mtime = node.ctime = now()
      if (flags.killSuidgid) this.#killSuidgid(node)
      return data.length
    })
  }

  flush(number: Ino, _handle: Handle, lockOwner: bigint): void {
    this.#count('flush')
    this.#node(number).posixLocks.drop(held => held.owner === lockOwner)
  }

  fsync(): void {
    this.#count('fsync')
  }

  release(number: Ino, handle: Handle, flockOwner: bigint | undefined): void {
    this.#count('release')
    const node = this.#node(number)
    this.#handle(handle)
    this.opens.delete(handle)
    if (flockOwner !== undefined) node.flocks.drop(held => held.owner === flockOwner)
    node.posixLocks.drop(held => held.handle === handle)
    node.opens--
    this.#reap(node)
  }

  opendir(number: Ino): Opened {
    return this.#opened(this.#directory(number), undefined)
  }

  readdir(number: Ino, handle: Handle, cookie: bigint, plus: boolean, sink: DirentSink): void {
    this.#count(plus ? 'readdirplus' : 'readdir')
    this.#handle(handle)
    const node = this.#directory(number)
    const dot = { name: '.' as Name, ino: node.ino, type: S_IFDIR, cookie: 1n }
    const dotDot = { name: '..' as Name, ino: (node.parent ?? node).ino, type: S_IFDIR, cookie: 2n }
    if (cookie < 1n && !sink(dot)) return
    if (cookie < 2n && !sink(dotDot)) return
    for (const [name, child] of node.children) {
      if (child.cookie <= cookie) continue
      const dirent = { name, ino: child.node.ino, type: child.node.type, cookie: child.cookie }
      const ttl = this.#ttl
      if (!sink(dirent, plus ? { attr: child.node.attr(), nameTtlMs: ttl, attrTtlMs: ttl } : undefined))
        return
      if (plus) child.node.lookups++
    }
  }

  fsyncdir(): void {
    this.#count('fsyncdir')
  }

  releasedir(number: Ino, handle: Handle): void {
    this.release(number, handle, undefined)
  }

  statfs(): StatFs {
    return {
      totalBytes: 1 << 30,
      availableBytes: 1 << 29,
      files: 1000,
      filesFree: Math.max(0, 1000 - this.nodes.size),
    }
  }

  getxattr(number: Ino, name: Name): Uint8Array | undefined {
    return this.#node(number).xattrs.get(name)
  }

  setxattr(number: Ino, name: Name, value: Uint8Array, mode: 'set' | 'create' | 'replace'): void {
    const { xattrs } = this.#node(number)
    if (mode === 'create' && xattrs.has(name)) throw new FsError('EEXIST')
    if (mode === 'replace' && !xattrs.has(name)) throw new FsError('ENODATA')
    xattrs.set(name, Buffer.from(value))
  }

  listxattr(number: Ino): readonly Name[] {
    return [...this.#node(number).xattrs.keys()]
  }

  removexattr(number: Ino, name: Name): void {
    if (!this.#node(number).xattrs.delete(name)) throw new FsError('ENODATA')
  }

  getlk(number: Ino, _handle: Handle, owner: bigint, range: LockRange): LockRange | undefined {
    return this.#node(number).posixLocks.blocking(owner, range)
  }

  setlk(
    number: Ino,
    handle: Handle,
    owner: bigint,
    range: Omit<LockRange, 'kind'> & { readonly kind: LockRange['kind'] | 'unlock' },
    flock: boolean,
    wait: boolean,
    caller: Caller,
  ): Answer<void> {
    const node = this.#node(number)
    return (flock ? node.flocks : node.posixLocks).set(owner, handle, range, wait, () => caller.signal)
  }

  fallocate(number: Ino, _handle: Handle, offset: number, length: number, mode: FallocateMode): void {
    const node = this.#node(number)
    if (mode.punchHole || mode.zeroRange) node.zero(offset, length)
    if (!mode.punchHole) node.allocate(offset, length)
    if (!mode.keepSize) node.size = Math.max(node.size, offset + length)
    node.mtime = node.ctime = now()
  }

  lseek(number: Ino, _handle: Handle, offset: number, whence: 'data' | 'hole'): number {
    return this.#node(number).seek(offset, whence)
  }

  copyFileRange(
    from: { readonly ino: Ino; readonly offset: number },
    to: { readonly ino: Ino; readonly offset: number },
    length: number,
  ): number {
    this.#count('copyFileRange')
    const data = Buffer.concat(this.#node(from.ino).read(from.offset, length))
    this.#node(to.ino).write(to.offset, data)
    return data.length
  }

  async destroy(): Promise<void> {
    this.destroyed = true
  }

  get #ttl(): number {
    return this.#options.ttlMs ?? 0
  }

  #count(call: string): void {
    this.calls.set(call, (this.calls.get(call) ?? 0) + 1)
  }

  #after<T>(act: () => T): Answer<T> {
    const waited = this.#options.before?.()
    return waited === undefined ? act() : waited.then(act)
  }

  #node(number: Ino): MemoryNode {
    const node = this.nodes.get(number)
    if (node === undefined) throw new FsError('ESTALE')
    return node
  }

  #directory(number: Ino): MemoryNode {
    const node = this.#node(number)
    if (!isDirectory(node.mode)) throw new FsError('ENOTDIR')
    return node
  }

  #child(directory: MemoryNode, name: Name): MemoryNode {
    const child = directory.children.get(name)
    if (child === undefined) throw new FsError('ENOENT')
    return child.node
  }

  #handle(handle: Handle): Open {
    const open = this.opens.get(handle)
    if (open === undefined) throw new FsError('EBADF')
    return open
  }

  #entry(node: MemoryNode): Entry {
    node.lookups++
    return { attr: node.attr(), nameTtlMs: this.#ttl, attrTtlMs: this.#ttl }
  }

  #attr(node: MemoryNode): AttrAnswer {
    return { attr: node.attr(), attrTtlMs: this.#ttl }
  }

  #opened(node: MemoryNode, flags: OpenFlags | undefined): Opened {
    const handle = this.#nextHandle++
    this.opens.set(handle, { node, flags })
    node.opens++
    return { handle, directIo: flags !== undefined && this.#options.directIo === true }
  }

  #new(parent: MemoryNode, how: NewInode, { uid, gid }: Caller): MemoryNode {
    const inherits = (parent.mode & S_ISGID) !== 0
    const setgid = inherits && (how.mode & S_IFDIR) === S_IFDIR ? S_ISGID : 0
    const mode = (how.mode & ~how.umask) | setgid
    const node = new MemoryNode(ino(this.#nextIno++), mode, uid, inherits ? parent.gid : gid, now())
    node.rdev = how.rdev
    this.nodes.set(node.ino, node)
    return node
  }

  #make(parent: MemoryNode, name: Name, how: NewInode, caller: Caller): MemoryNode {
    if (parent.children.has(name)) throw new FsError('EEXIST')
    const node = this.#new(parent, how, caller)
    this.#add(parent, name, node)
    return node
  }

  #add(parent: MemoryNode, name: Name, node: MemoryNode): void {
    if (parent.children.has(name)) throw new FsError('EEXIST')
    parent.children.set(name, { node, cookie: this.#nextCookie++ })
    if (isDirectory(node.mode)) {
      node.parent = parent
      parent.nlink++
    }
    parent.mtime = parent.ctime = now()
  }

  #detach(parent: MemoryNode, name: Name): MemoryNode {
    const node = this.#child(parent, name)
    parent.children.delete(name)
    if (isDirectory(node.mode)) parent.nlink--
    parent.mtime = parent.ctime = now()
    return node
  }

  #remove(parent: MemoryNode, name: Name): void {
    const node = this.#detach(parent, name)
    node.nlink -= isDirectory(node.mode) ? 2 : 1
    node.ctime = now()
    this.#reap(node)
  }

  #reap(node: MemoryNode): void {
    if (node.nlink <= 0 && node.lookups <= 0 && node.opens === 0) this.nodes.delete(node.ino)
  }

  #killSuidgid(node: MemoryNode): void {
    if (!isRegular(node.mode)) return
    node.mode &= (node.mode & 0o010) !== 0 ? ~0o6000 : ~0o4000
  }
}
