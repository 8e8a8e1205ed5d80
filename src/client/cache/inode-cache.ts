import { type Attr, type Dirent, isDirectory } from '../../core/attr.ts'
import type { Ino } from '../../core/ids.ts'
import type { Name } from '../../core/name.ts'
import type { Lease } from '../../wire/attr.ts'
import { Inode } from './inode.ts'
import { Listing } from './listing.ts'

/**
 * What is known of inodes, bounded. Rebuilt from the master at any time.
 *
 * Replies of commands arrive in the order in which the commands were executed, so they always tell
 * the latest. A query's reply may be older than a command's that came meanwhile: it carries the mark
 * taken when it was asked, and is not kept if a command told something of the inode since.
 */
export interface CacheLimits {
  /** Inodes, each some 600 bytes. */
  readonly inodes: number
  /** Names in all directories, each some 100 bytes. */
  readonly names: number
}

/** Longest xattr value kept: ACLs and capabilities are short. */
const xattrBytesKept = 1024
const xattrsKept = 32
const capability = 'security.capability' as Name
/** All that is known of the attributes of most inodes. */
const noCapability: ReadonlyMap<Name, null> = new Map([[capability, null]])

/** Names asked for in vain until a directory is read. */
const missesMax = 3
/** Longest listing that is kept whole. */
export const listingKept = 4096

const rank: Readonly<Record<Lease, number>> = { none: 0, read: 1, write: 2 }
export const atLeast = (lease: Lease, needed: Lease): boolean => rank[lease] >= rank[needed]

export class InodeCache {
  readonly #inodes = new Map<Ino, Inode>()
  readonly #leaseLeftMs: () => number
  readonly #limits: CacheLimits
  readonly #onFull: () => void
  #mark = 0
  #names = 0

  /** `onFull` is told, once or often, that there are more inodes than there should be. */
  constructor(leaseLeftMs: () => number, limits: CacheLimits, onFull: () => void) {
    this.#leaseLeftMs = leaseLeftMs
    this.#limits = limits
    this.#onFull = onFull
  }

  get size(): number {
    return this.#inodes.size
  }

  get limits(): CacheLimits {
    return this.#limits
  }

  /** To be taken before a question is sent, and given back with its answer. */
  get mark(): number {
    return this.#mark
  }

  get(ino: Ino): Inode | undefined {
    return this.#inodes.get(ino)
  }

  make(ino: Ino): Inode {
    let node = this.#inodes.get(ino)
    if (node === undefined) {
      node = new Inode(ino)
      this.#inodes.set(ino, node)
      if (this.#inodes.size > this.#limits.inodes) this.#onFull()
    }
    node.touched = true
    return node
  }

  all(): IterableIterator<Inode> {
    return this.#inodes.values()
  }

  /** `alone`: there was no other mount at that time. */
  granted(ino: Ino, lease: Lease, alone: boolean): void {
    if (lease === 'none') return
    const node = this.make(ino)
    if (rank[lease] > rank[node.lease]) node.lease = lease
    node.alone = alone
  }

  /** Whether what is cached of it may be used. */
  trusted(node: Inode): boolean {
    if (node.changing > 0 && node.lease !== 'write') return false
    return node.lease !== 'none' && this.#leaseLeftMs() > 0
  }

  /** How long the kernel may believe what it is told of the inode, ms. */
  ttlMs(node: Inode | undefined, max: number): number {
    if (node === undefined || node.lease === 'none' || node.recalling || node.changing > 0) return 0
    return Math.min(this.#leaseLeftMs(), max)
  }

  /** Attributes as committed, if they may be used. */
  attr(ino: Ino): Attr | undefined {
    const node = this.#inodes.get(ino)
    if (node?.attr === undefined) return undefined
    node.touched = true
    return node.gone || this.trusted(node) ? node.attr : undefined
  }

  /** Attributes that came with the answer to a question asked at `mark`. */
  noteQuery(attr: Attr, mark: number): void {
    const node = this.#inodes.get(attr.ino)
    if (node === undefined || node.gone || node.lease === 'none' || node.changed > mark) return
    node.attr = attr
  }

  /** Attributes that came with the answer to a command. */
  noteCommand(attr: Attr | undefined): void {
    if (attr === undefined) return
    const node = this.#inodes.get(attr.ino)
    if (node === undefined) return
    node.changed = ++this.#mark
    this.#setAttr(node, attr)
  }

  /** Attributes that are so from now on, by a promise. */
  notePromised(node: Inode, attr: Attr): void {
    node.changed = ++this.#mark
    node.attr = attr
  }

  /** Attributes that came with the word that something promised is done: what was asked since the promise knows it. */
  noteMade(attr: Attr | undefined): void {
    const node = attr === undefined ? undefined : this.#inodes.get(attr.ino)
    if (attr !== undefined && node !== undefined) this.#setAttr(node, attr)
  }

  #setAttr(node: Inode, attr: Attr): void {
    if (node.lease === 'none' && !node.gone) return
    const counted = withLinks(attr, node.linksToCome)
    const known =
      node.promised > 0 && node.attr !== undefined
        ? notBefore(counted, node.attr, node.setting)
        : { ...counted, ...node.setting }
    // The last name went here before the master was told.
    node.attr = node.removed && known.nlink > 0 ? { ...known, nlink: 0 } : known
  }

  /** Whether the directory has no default ACL, as a command of ours was answered. */
  notePlain(ino: Ino, plain: boolean): void {
    const node = this.#inodes.get(ino)
    if (node !== undefined) node.plain = plain && node.lease !== 'none'
  }

  /** The inode of a name, null if there certainly is none, undefined if that must be asked. */
  name(parent: Ino, name: Name): Ino | null | undefined {
    const node = this.#inodes.get(parent)
    if (node?.names === undefined || !this.trusted(node)) return undefined
    node.touched = true
    const known = node.names.get(name)
    return known === undefined && node.complete ? null : known
  }

  /** A directory that was just made is empty. */
  noteEmpty(ino: Ino, parent: Ino): void {
    const node = this.#inodes.get(ino)
    if (node === undefined || node.lease === 'none') return
    node.names ??= new Map()
    node.complete = true
    node.listing ??= new Listing([], parent)
  }

  noteName(parent: Ino, name: Name, ino: Ino | null, mark: number): void {
    const node = this.#inodes.get(parent)
    if (node === undefined || node.lease === 'none' || node.changed > mark) return
    this.#setName(node, name, ino)
  }

  /**
   * A command of ours changed what a name leads to; the master has told nothing of its place in the list. `null`: it was
   * removed.
   */
  changeName(parent: Ino, name: Name, ino: Ino | null): void {
    const node = this.#inodes.get(parent)
    if (node === undefined) return
    if (ino === null) this.#unlist(node, name)
    else this.#dropListing(node)
    this.#changeName(node, name, ino)
  }

  /** A command of ours made a name, or found it. */
  addName(parent: Ino, entry: Dirent): void {
    const node = this.#inodes.get(parent)
    if (node === undefined) return
    const isKnown = node.names?.get(entry.name) === entry.ino
    this.#changeName(node, entry.name, entry.ino)
    if (!isKnown) this.#list(node, entry)
  }

  /** A name that the master has yet to make: its place in the list comes with the answer (`listPromised`). */
  promiseName(directory: Inode, name: Name, ino: Ino): void {
    directory.unlisted += 1
    this.#changeName(directory, name, ino)
  }

  /** The promised name was made; undefined: it was not. */
  listPromised(directory: Inode, entry: Dirent | undefined): void {
    directory.unlisted -= 1
    // It may be gone again, or have gone elsewhere.
    if (entry !== undefined && directory.names?.get(entry.name) === entry.ino) this.#list(directory, entry)
  }

  /** The listing of a directory, if all of it is known. */
  listing(ino: Ino): Listing | undefined {
    const node = this.#inodes.get(ino)
    return node?.unlisted === 0 && this.trusted(node) ? node.listing : undefined
  }

  #changeName(node: Inode, name: Name, ino: Ino | null): void {
    node.changed = ++this.#mark
    node.filling?.set(name, ino)
    if (node.lease !== 'none') this.#setName(node, name, ino)
    else {
      this.#dropNames(node)
      this.#dropListing(node)
    }
  }

  #list(node: Inode, entry: Dirent): void {
    if (node.listing === undefined) return
    // Of a master that does not tell it, or of somebody who is not as far.
    if (entry.cookie > 0n && node.listing.length < listingKept && node.listing.add(entry)) this.#names += 1
    else this.#dropListing(node)
  }

  #unlist(node: Inode, name: Name): void {
    if (node.listing?.remove(name) === true) this.#names -= 1
  }

  /** What a name leads to turned out to be wrong. */
  forgetName(parent: Ino, name: Name): void {
    const node = this.#inodes.get(parent)
    if (node === undefined) return
    node.complete = false
    if (node.names?.delete(name) === true) this.#names -= 1
    this.#dropListing(node)
  }

  noteListing(parent: Ino, listing: Listing, mark: number): void {
    const node = this.#inodes.get(parent)
    if (node === undefined || node.lease === 'none' || node.changed > mark) return
    this.#dropListing(node)
    node.listing = listing
    this.#names += listing.length
    this.#noteNames(node, listing.entries)
    this.#boundNames(node)
  }

  /** A directory is about to be read whole. Undefined if nothing can be kept of it. */
  beginFill(ino: Ino): Map<Name, Ino | null> | undefined {
    const node = this.#inodes.get(ino)
    if (node === undefined || node.lease === 'none' || node.filling !== undefined) return undefined
    node.filling = new Map()
    return node.filling
  }

  /** It was read: `entries`, and what we changed meanwhile. Undefined: not, or not whole. */
  endFill(ino: Ino, begun: Map<Name, Ino | null>, entries: readonly Dirent[] | undefined): void {
    const node = this.#inodes.get(ino)
    // The lease went meanwhile, and what was read with it.
    if (node?.filling !== begun) return
    node.filling = undefined
    if (entries === undefined) return
    this.#noteNames(node, entries)
    for (const [name, changed] of begun) this.#setName(node, name, changed)
    this.#boundNames(node)
  }

  /** Whether it is worth to read a directory so that names that are not there are known: some were asked for. */
  missed(parent: Ino): boolean {
    const node = this.#inodes.get(parent)
    if (node === undefined || node.complete || node.lease === 'none') return false
    node.misses += 1
    return node.misses === missesMax
  }

  dropListing(ino: Ino): void {
    const node = this.#inodes.get(ino)
    if (node !== undefined) this.#dropListing(node)
  }

  noteXattr(node: Inode, name: Name, value: Uint8Array | null, mark: number): void {
    if (node.lease === 'none' || node.changed > mark) return
    if (value !== null && value.length > xattrBytesKept) return
    if ((node.xattrs?.size ?? 0) >= xattrsKept) return
    if (node.xattrs === undefined && name === capability && value === null) node.xattrs = noCapability
    else node.xattrs = new Map(node.xattrs).set(name, value === null ? null : Uint8Array.from(value))
  }

  /** An inode that was just made has no file capabilities. */
  noteNoCapability(ino: Ino): void {
    const node = this.#inodes.get(ino)
    if (node !== undefined) this.noteXattr(node, capability, null, this.#mark)
  }

  noteXattrNames(node: Inode, names: readonly Name[], mark: number): void {
    if (node.lease !== 'none' && node.changed <= mark) node.xattrNames = names
  }

  /** A command of ours changed its xattrs, or may have (clearing setuid drops capabilities). */
  dropXattrs(node: Inode): void {
    node.changed = ++this.#mark
    node.plain = false
    node.xattrs = undefined
    node.xattrNames = undefined
  }

  /**
   * A command of ours changed its mode or owner, or cut it: that changes ACLs and takes capabilities, and gives none;
   * a directory has a default ACL as before.
   */
  dropAcls(node: Inode): void {
    const incapable = node.xattrs?.get(capability) === null && node.lease !== 'none'
    const { plain } = node
    this.dropXattrs(node)
    node.plain = plain
    if (incapable) node.xattrs = noCapability
  }

  /** Forgets what was cached under the lease. What is open stays open. */
  drop(node: Inode): void {
    this.#dropNames(node)
    this.#dropListing(node)
    if (!node.gone) node.attr = undefined
    node.target = undefined
    node.xattrs = undefined
    node.xattrNames = undefined
    node.pagesValid = false
    node.plain = false
    node.changed = ++this.#mark
  }

  /** Forgets the inode. */
  remove(node: Inode): void {
    this.drop(node)
    this.#inodes.delete(node.ino)
  }

  /**
   * Inodes that were not used lately, at most `count`, of those that `idle` allows. Each that is passed
   * over gets a second chance.
   */
  coldest(count: number, idle: (node: Inode) => boolean): Inode[] {
    const found: Inode[] = []
    const passed: Inode[] = []
    let looked = 0
    const most = this.#inodes.size * 2
    for (const node of this.#inodes.values()) {
      if (found.length === count || looked++ === most) break
      if (node.touched) {
        node.touched = false
        passed.push(node)
      } else if (idle(node)) {
        found.push(node)
      }
    }
    // The Map keeps the order of insertion: who was passed over goes to its end.
    for (const node of passed) {
      this.#inodes.delete(node.ino)
      this.#inodes.set(node.ino, node)
    }
    return found
  }

  #noteNames(node: Inode, entries: readonly Dirent[]): void {
    const names = (node.names ??= new Map())
    this.#names -= names.size
    for (const { name, ino } of entries) names.set(name, ino)
    this.#names += names.size
    node.complete = true
  }

  #setName(node: Inode, name: Name, ino: Ino | null): void {
    node.names ??= new Map()
    const before = node.names.size
    // Absent names need no place where every name that exists is known.
    if (ino === null && node.complete) node.names.delete(name)
    else node.names.set(name, ino)
    this.#names += node.names.size - before
    this.#boundNames(node)
  }

  /** Names may be dropped without giving back the lease: they are asked for again. */
  #boundNames(keep: Inode): void {
    if (this.#names <= this.#limits.names) return
    for (const node of this.#inodes.values()) {
      if (node === keep || node.nameCount === 0) continue
      this.#dropNames(node)
      this.#dropListing(node)
      if (this.#names <= this.#limits.names * 0.75) return
    }
    if (this.#names <= this.#limits.names) return
    this.#dropNames(keep)
    this.#dropListing(keep)
  }

  #dropNames(node: Inode): void {
    this.#names -= node.names?.size ?? 0
    node.names = undefined
    node.complete = false
    node.filling = undefined
    node.attrsAhead = undefined
    node.misses = 0
  }

  #dropListing(node: Inode): void {
    this.#names -= node.listing?.length ?? 0
    node.listing = undefined
  }
}

/** Each subdirectory is a link to its parent. */
const withLinks = (attr: Attr, toCome: number): Attr =>
  toCome === 0 ? attr : { ...attr, nlink: attr.nlink + toCome }

/**
 * Attributes with the times that programs were shown already; of a file, a promised name changes but its ctime. What is
 * older than attributes that are promised has them yet to come (`setting`).
 */
function notBefore(attr: Attr, shown: Attr, setting: Partial<Attr> | undefined): Attr {
  if (setting !== undefined && attr.ctime < shown.ctime) return { ...attr, ...setting, ctime: shown.ctime }
  const later = (a: bigint, b: bigint): bigint => (a > b ? a : b)
  const ctime = later(attr.ctime, shown.ctime)
  return { ...attr, mtime: isDirectory(attr.mode) ? later(attr.mtime, shown.mtime) : attr.mtime, ctime }
}
