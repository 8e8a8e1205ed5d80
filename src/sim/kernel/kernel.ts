import { must } from '../../core/assert.ts'
import type { Attr } from '../../core/attr.ts'
import type { LogFields } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import { type Ino, rootIno } from '../../core/ids.ts'
import type { Name } from '../../core/name.ts'
import type { Answer, AttrAnswer, Caller, Entry, FileSystem } from '../../fuse/filesystem.ts'
import type { HostEnv } from '../world/host.ts'
import type { Prng } from '../world/prng.ts'
import { type Dentry, KernelInode, pageBytes, type Page } from './kernel-inode.ts'
import { RwLock } from './rw-lock.ts'

/**
 * What the kernel keeps of one mount, and its locks: dentries, inodes and pages with the time-outs
 * that it was told, requests that take time, versions that tell which of two answers is older. The
 * system calls are in Names and FileIo; what the daemon has it forget, in KernelNotifier.
 */
export class Kernel {
  readonly env: HostEnv
  readonly prng: Prng
  /** s_vfs_rename_mutex. */
  readonly renames = new RwLock('rename')
  readonly #inodes = new Map<Ino, KernelInode>()
  readonly #dentries = new Map<KernelInode, Map<Name, Dentry>>()
  readonly #bug: (error: unknown) => void
  readonly #underWay = new Map<number, string>()
  #fs: FileSystem | undefined
  #requests = 0
  #version = 1
  #epoch = 0

  constructor(env: HostEnv, prng: Prng, bug: (error: unknown) => void) {
    this.env = env
    this.prng = prng
    this.#bug = bug
  }

  /** The mount is there. */
  async attach(fs: FileSystem): Promise<void> {
    this.#fs = fs
    const { attr, attrTtlMs } = await this.request('getattr root', f =>
      f.getattr(fs.root ?? rootIno, undefined, this.caller(0)),
    )
    const root = new KernelInode(attr, this.now + attrTtlMs, this.nextVersion())
    root.opens = 1
    this.#inodes.set(rootIno, root)
  }

  get fs(): FileSystem {
    return must(this.#fs, 'mount')
  }

  get now(): number {
    return this.env.timeline.now
  }

  get root(): KernelInode {
    return must(this.#inodes.get(rootIno), 'root')
  }

  get version(): number {
    return this.#version
  }

  nextVersion(): number {
    this.#version += 1
    return this.#version
  }

  caller(pid: number, signal?: AbortSignal): Caller {
    return { uid: 0, gid: 0, pid, signal: signal ?? new AbortController().signal }
  }

  /** Sends a request and waits for its answer; both take time. */
  async request<T>(what: string, ask: (fs: FileSystem) => Answer<T>): Promise<T> {
    const id = this.#requests++
    this.#underWay.set(id, what)
    try {
      await this.env.delay(this.prng.between(0.005, 0.05))
      const answer = await ask(this.fs)
      this.env.log.debug(what, summaryOf(answer))
      return answer
    } catch (error) {
      if (!(error instanceof FsError)) this.#bug(error)
      this.env.log.debug(what, { error })
      throw FsError.from(error)
    } finally {
      this.#underWay.delete(id)
      // The process that waits runs a little later than the answer is there.
      await this.env.delay(this.prng.between(0.001, 0.02))
    }
  }

  /** What has not ended: requests without an answer and locks that are waited for. */
  stuck(): string[] {
    const locks = [
      this.renames,
      ...[...this.#inodes.values()].flatMap(inode => [
        inode.lock,
        ...[...inode.pages.values()].map(page => page.lock),
      ]),
    ]
    const waiting = locks.map(lock => lock.describe()).filter(line => line !== undefined)
    return [...[...this.#underWay.values()].map(what => `unanswered: ${what}`), ...waiting]
  }

  // ---- inodes

  inode(ino: Ino): KernelInode | undefined {
    return this.#inodes.get(ino)
  }

  /** An Entry arrived: the inode is known once more often. `asked` is the version when it was asked for. */
  instantiate(entry: Entry, asked: number): KernelInode {
    const { attr, attrTtlMs } = entry
    let inode = this.#inodes.get(attr.ino)
    if (inode === undefined) {
      inode = new KernelInode(attr, this.now + attrTtlMs, this.nextVersion())
      this.#inodes.set(attr.ino, inode)
    } else this.noteAttr(inode, entry, asked)
    inode.lookups += 1
    return inode
  }

  /** Attributes arrived, unless something newer is known. */
  noteAttr(inode: KernelInode, { attr, attrTtlMs }: AttrAnswer, asked: number): void {
    if (inode.version > asked || inode.sizeUnstable > 0) {
      if (attr.size !== inode.size) inode.sizesIgnored += 1
      return
    }
    this.setAttr(inode, attr, attrTtlMs)
  }

  setAttr(inode: KernelInode, attr: Attr, attrTtlMs: number): void {
    inode.version = this.nextVersion()
    inode.attr = attr
    inode.attrUntil = this.now + attrTtlMs
    if (inode.size === attr.size) return
    inode.size = attr.size
    this.truncatePages(inode, attr.size)
  }

  /** Drops pages beyond the size. Those that are locked are left to who holds them. */
  truncatePages(inode: KernelInode, size: number): void {
    for (const [index, page] of inode.pages) {
      const start = index * pageBytes
      if (start >= size) {
        if (page.lock.free) inode.pages.delete(index)
        else {
          page.uptodate = false
          page.cutAt = 0
        }
      } else if (start + pageBytes > size) {
        page.bytes.fill(0, size - start)
        page.cutAt = Math.min(page.cutAt, size - start)
      }
    }
  }

  async freshAttr(inode: KernelInode, pid: number): Promise<Attr> {
    if (this.now < inode.attrUntil) return inode.attr
    const asked = this.#version
    const answer = await this.request(`getattr ${inode.ino}`, fs =>
      fs.getattr(inode.ino, undefined, this.caller(pid)),
    )
    this.noteAttr(inode, answer, asked)
    return answer.attr
  }

  /** Nothing refers to it any more: the file system hears so. */
  release(inode: KernelInode): void {
    if (!this.#isUnused(inode)) return
    // Whoever was just led to it takes it before anything else happens.
    this.env.timers.soon(() => {
      if (this.#inodes.get(inode.ino) !== inode || !this.#isUnused(inode)) return
      this.#inodes.delete(inode.ino)
      this.#dentries.delete(inode)
      const { lookups } = inode
      inode.lookups = 0
      this.fs.forget(inode.ino, lookups)
    })
  }

  #isUnused(inode: KernelInode): boolean {
    if (inode.opens > 0 || inode.names > 0 || inode.lookups === 0 || !inode.lock.free) return false
    for (const page of inode.pages.values()) if (!page.lock.free || page.dirty) return false
    return true
  }

  // ---- names

  dentry(parent: KernelInode, name: Name): Dentry | undefined {
    return this.#dentries.get(parent)?.get(name)
  }

  isValid(dentry: Dentry): boolean {
    return dentry.epoch === this.#epoch && this.now < dentry.until
  }

  /** What is known of the name is asked for again. */
  doubt(parent: KernelInode, name: Name): void {
    const dentry = this.dentry(parent, name)
    if (dentry !== undefined) dentry.until = 0
  }

  /** `epoch`: the one in which it was asked for. */
  setDentry(
    parent: KernelInode,
    name: Name,
    inode: KernelInode | undefined,
    ttlMs: number,
    epoch: number,
  ): void {
    // Counted first: dropping the name that it replaces must not release either.
    if (inode !== undefined) inode.names += 1
    parent.opens += 1
    this.dropDentry(parent, name)
    let names = this.#dentries.get(parent)
    if (names === undefined) {
      names = new Map()
      this.#dentries.set(parent, names)
    }
    names.set(name, { inode, until: this.now + ttlMs, epoch })
  }

  dropDentry(parent: KernelInode, name: Name): void {
    const names = this.#dentries.get(parent)
    const dentry = names?.get(name)
    if (names === undefined || dentry === undefined) return
    names.delete(name)
    parent.opens -= 1
    if (dentry.inode !== undefined) {
      dentry.inode.names -= 1
      this.release(dentry.inode)
    }
    this.release(parent)
  }

  get epoch(): number {
    return this.#epoch
  }

  nextEpoch(): void {
    this.#epoch += 1
  }

  /** Planted bug: what was said not to be there is believed on. */
  renewAbsences(): void {
    for (const names of this.#dentries.values())
      for (const dentry of names.values()) if (dentry.inode === undefined) dentry.epoch = this.#epoch
  }

  /** Memory is short: forgets some of everything that is not in use. */
  shrink(): void {
    for (const inode of [...this.#inodes.values()]) this.#dropPages(inode)
    for (const [parent, names] of [...this.#dentries])
      for (const [name, { inode }] of [...names])
        if (parent.lock.free && this.prng.chance(0.3)) this.#maybeDrop(parent, name, inode)
  }

  #maybeDrop(parent: KernelInode, name: Name, inode: KernelInode | undefined): void {
    if (inode === undefined || (inode.opens === 0 && inode.lock.free)) this.dropDentry(parent, name)
  }

  #dropPages(inode: KernelInode): void {
    for (const [index, page] of inode.pages)
      if (isIdle(page) && this.prng.chance(0.3)) inode.pages.delete(index)
  }
}

/** What of an answer is worth a place in the trace. */
function summaryOf(answer: unknown): LogFields {
  const { attr, attrTtlMs, nameTtlMs } = (answer ?? {}) as Partial<Entry>
  if (attr === undefined) return {}
  return { ino: attr.ino, size: attr.size, nlink: attr.nlink, attrTtlMs, nameTtlMs }
}

const isIdle = (page: Page): boolean => page.lock.free && !page.dirty
