import { type Attr, type Dirent, S_IFDIR } from '../../core/attr.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import { attrFromWire } from '../../wire/attr.ts'
import { wireVersionTree } from '../../core/limits.ts'
import type { Name } from '../../core/name.ts'
import type { ReadDirReply } from '../../wire/gen/cairn/v1/session.ts'
import { toIno, u63 } from '../../wire/validate.ts'
import type { AttrsAhead } from '../cache/inode.ts'
import { listingKept } from '../cache/inode-cache.ts'
import { Listing } from '../cache/listing.ts'
import { Neighbours } from './neighbours.ts'
import type { AccessTimes } from './access-times.ts'
import type { Attributes } from './attributes.ts'
import type { FilesContext } from './context.ts'
import { direntFromWire, entriesAfter, ownCookies, parentOf } from './dirents.ts'
import { TreeWalks } from './tree-walks.ts'

/** Takes an entry, with attributes if they are certain; false: no room for it, stop. */
export type TakeDirent = (dirent: Dirent, attr: Attr | undefined) => boolean

/** Of a directory that is read ahead; larger ones are left to who wants them. */
const entriesAhead = 500
/** Entries asked for at once: some 100 bytes each. */
const entriesPerCall = 1000

/**
 * Entries whose attributes are given with their names, from a listing's start: programs look at what they list. A
 * longer listing may only be after names, and each entry given costs memory of the kernel, the mount and the master;
 * those that are looked at are asked for ahead.
 */
const plusMax = 16_384

/** An entry asked for alone costs as much as so many asked for together; one used pays for a few more. */
const creditPerMiss = 64
const creditPerUse = 8
/** Entries looked up alone, times their credit, before a directory is read ahead for a second time. */
const wholeCost = 100 * creditPerMiss

/** For so long after a removal, directories that are listed may be about to go, too. */
const removingMs = 1000

/** An answer of the master about a part of a directory. */
interface Part {
  readonly reply: ReadDirReply
  readonly entries: Dirent[]
  readonly mark: number
}

interface OpenDirectory {
  readonly ino: Ino
  /** Entries fetched ahead. Nothing else is kept: each reading position is found again by its cookie. */
  ahead: readonly Dirent[]
  /** Cookie after which `ahead` begins. */
  after: bigint
  /** What comes after `ahead`, while that is passed on. */
  next: { readonly after: bigint; readonly plus: boolean; readonly part: Promise<Part> } | undefined
  /** Nothing comes after `ahead`. */
  end: boolean
  parent: Ino
  /** Entries given with their attributes since the start. */
  plus: number
  /** What was seen since the start, while nothing changed: becomes the directory's cached listing. */
  seen: Dirent[] | undefined
  mark: number
}

/** Open directories. */
export class Listings {
  readonly neighbours: Neighbours
  readonly #context: FilesContext
  readonly #attributes: Attributes
  readonly #atimes: AccessTimes
  readonly #walks: TreeWalks
  /** When a name was last removed, on the clock. */
  #removedMs = Number.NEGATIVE_INFINITY
  readonly #open = new Map<bigint, OpenDirectory>()
  #last = 0n

  constructor(context: FilesContext, attributes: Attributes, atimes: AccessTimes) {
    this.#context = context
    this.neighbours = new Neighbours(context, directory => this.attributesAhead(directory))
    this.#attributes = attributes
    this.#atimes = atimes
    this.#walks = new TreeWalks(
      context,
      () => this.#isRemoving,
      (directories, limit) => this.#fetchTree(directories, limit),
    )
  }

  /** A program removes names: of the directories that are listed next most likely, too. */
  removing(): void {
    this.#removedMs = this.#context.env.clock.now()
  }

  get #isRemoving(): boolean {
    return this.#context.env.clock.now() - this.#removedMs < removingMs && !this.#context.options.readOnly
  }

  open(ino: Ino): bigint {
    this.restore(this.#last + 1n, ino)
    return this.#last
  }

  /** Open directories by their handles. */
  *all(): Generator<readonly [bigint, Ino]> {
    for (const [handle, { ino }] of this.#open) yield [handle, ino]
  }

  /** Each reading position is found by its cookie: that is all there is to know. */
  restore(handle: bigint, ino: Ino): void {
    const node = this.#context.cache.make(ino)
    node.opens += 1
    if (handle > this.#last) this.#last = handle
    const nothing = { ahead: [], after: -1n, end: false, plus: 0, next: undefined, seen: undefined, mark: 0 }
    this.#open.set(handle, { ino, parent: ino, ...nothing })
  }

  release(handle: bigint): void {
    const directory = this.#open.get(handle)
    if (directory === undefined) return
    this.#open.delete(handle)
    const node = this.#context.cache.get(directory.ino)
    if (node !== undefined) node.opens -= 1
  }

  /** Lists from after `cookie`; 0 is the start, and sees the directory as it is now. */
  async list(handle: bigint, cookie: bigint, plus: boolean, take: TakeDirent): Promise<void> {
    const directory = this.#open.get(handle)
    if (directory === undefined) throw new FsError('EBADF', `directory handle ${handle} is not open`)
    const { cache } = this.#context
    const node = cache.make(directory.ino)
    // A removed directory has no entries, not even its own.
    if (node.removed) return
    if (cookie === 0n) {
      directory.ahead = []
      directory.after = -1n
      directory.end = false
      directory.plus = 0
      if (node.attr !== undefined) this.#atimes.touch(node, this.#attributes.shown(node.attr))
    }
    let at = cookie
    for (;;) {
      const withAttrs = plus && directory.plus < plusMax
      const entries = await this.#entries(directory, at, withAttrs)
      if (entries.length === 0) return
      for (const entry of entries) {
        const attr = withAttrs ? this.#attrOf(directory.ino, entry) : undefined
        if (!take(entry, attr)) return
        if (attr !== undefined) directory.plus++
        at = entry.cookie
      }
    }
  }

  /** The directory that a directory is in. */
  async parent(ino: Ino): Promise<Ino> {
    const kept = this.#kept(ino)
    if (kept !== undefined) return kept.parent
    const value = { ino, after: 0n, limit: 1, attrs: false, removing: false }
    return parentOf(ino, await this.#context.session.call({ $case: 'readDir', value }, 'readDir'))
  }

  /**
   * Reads a directory of few entries into the cache, so that it is known which names are not there. Who
   * makes many files asks for each name first.
   */
  async fill(ino: Ino): Promise<void> {
    const { session, cache, env } = this.#context
    const begun = cache.beginFill(ino)
    if (begun === undefined) return
    let entries: Dirent[] | undefined
    try {
      const value = { ino, after: 0n, limit: entriesPerCall, attrs: false, removing: false }
      const reply = await session.call({ $case: 'readDir', value }, 'readDir')
      if (reply.end) entries = reply.entries.map(direntFromWire)
    } catch (thrown) {
      env.log.debug('A directory was not read ahead', { ino, why: messageOf(thrown) })
    }
    cache.endFill(ino, begun, entries)
  }

  /** Attributes of an entry were there when they were asked for. */
  noteUse(ino: Ino): void {
    const ahead = this.#context.cache.get(ino)?.attrsAhead
    if (ahead !== undefined) ahead.credit = Math.min(entriesPerCall, ahead.credit + creditPerUse)
  }

  /**
   * Attributes of an entry are missing though its name is known. Asks for those of the entries that come
   * next, if that has been worth its cost in this directory: each entry asked for alone, and each use of what
   * was asked for ahead, pays for some more. Never rejects.
   */
  attributesAhead(ino: Ino): Promise<void> | undefined {
    const { cache } = this.#context
    const node = cache.get(ino)
    if (node === undefined || !cache.trusted(node)) return undefined
    const ahead = (node.attrsAhead ??= { after: 0n, credit: 0, fetching: undefined })
    ahead.credit = Math.min(entriesPerCall, ahead.credit + creditPerMiss)
    if (ahead.fetching === undefined && ahead.credit >= 2 * creditPerMiss)
      ahead.fetching = this.#fetchAhead(ino, ahead).finally(() => {
        ahead.fetching = undefined
      })
    return ahead.fetching
  }

  async #fetchAhead(ino: Ino, ahead: AttrsAhead): Promise<void> {
    const { session, cache, env } = this.#context
    const { mark } = cache
    const value = { ino, after: ahead.after, limit: ahead.credit, attrs: true, removing: false }
    ahead.credit = 0
    try {
      const reply = await session.call({ $case: 'readDir', value }, 'readDir')
      this.#take(ino, reply, mark)
      const last = reply.entries.at(-1)
      if (!reply.end && last !== undefined) ahead.after = u63(last.cookie, 'read_dir.cookie')
      else {
        // From the start again, in case they are forgotten; what is asked for alone must pay for all of it.
        ahead.after = 0n
        ahead.credit = -wholeCost
      }
    } catch (thrown) {
      env.log.debug('Attributes were not read ahead', { ino, why: messageOf(thrown) })
    }
  }

  /** Some entries after the cookie; none at the end. */
  async #entries(directory: OpenDirectory, cookie: bigint, plus: boolean): Promise<readonly Dirent[]> {
    if (cookie < ownCookies && directory.after < 0n) await this.#fetch(directory, 0n, plus)
    if (cookie < ownCookies) return this.#own(directory).filter(entry => entry.cookie > cookie)
    if (directory.after >= 0n && cookie >= directory.after) {
      const rest = entriesAfter(directory.ahead, cookie)
      if (rest.length > 0 || directory.end) return rest
    }
    await this.#fetch(directory, cookie - ownCookies, plus)
    return directory.ahead
  }

  #own(directory: OpenDirectory): Dirent[] {
    return [
      { name: '.' as Name, ino: directory.ino, type: S_IFDIR, cookie: 1n },
      { name: '..' as Name, ino: directory.parent, type: S_IFDIR, cookie: 2n },
    ]
  }

  /** Reads directories, and some of those in them, into the cache, with attributes, before anybody asks for them. */
  async #fetchTree(inos: readonly Ino[], limit: number): Promise<readonly Ino[]> {
    const { session, env } = this.#context
    if (session.facts.version < wireVersionTree) {
      await Promise.all(inos.map(ino => this.#fetchWhole(ino)))
      return inos
    }
    const { mark } = this.#context.cache
    try {
      const value = { inos: [...inos], limit, below: true, removing: this.#isRemoving }
      const { directories } = await session.call({ $case: 'readTree', value }, 'readTree')
      const read = directories.map(directory =>
        this.#keep(toIno(directory.ino, 'read_tree.ino'), directory, mark),
      )
      this.neighbours.arrived(read)
      return read
    } catch (thrown) {
      env.log.debug('Directories were not read ahead', { inos: inos.length, why: messageOf(thrown) })
      return []
    }
  }

  /** Of a master that knows no trees. */
  async #fetchWhole(ino: Ino): Promise<void> {
    const { session, cache, env } = this.#context
    const { mark } = cache
    try {
      const value = { ino, after: 0n, limit: entriesAhead, attrs: true, removing: this.#isRemoving }
      const reply = await session.call({ $case: 'readDir', value }, 'readDir')
      if (reply.end) this.neighbours.arrived([this.#keep(ino, reply, mark)])
      else this.#take(ino, reply, mark)
    } catch (thrown) {
      env.log.debug('A directory was not read ahead', { ino, why: messageOf(thrown) })
    }
  }

  /** A whole directory, as it was told. */
  #keep(ino: Ino, told: Pick<ReadDirReply, 'entries' | 'parent'>, mark: number): Ino {
    const entries = this.#take(ino, told, mark)
    this.#context.cache.noteListing(ino, new Listing(entries, parentOf(ino, told)), mark)
    return ino
  }

  /** Reads ahead from after the master's cookie. */
  async #fetch(directory: OpenDirectory, after: bigint, plus: boolean): Promise<void> {
    await this.#walks.coming(directory.ino)
    const kept = this.#kept(directory.ino)
    if (kept !== undefined) {
      if (after === 0n) {
        this.neighbours.listed(directory.ino)
        this.#walks.listed(directory.ino, kept)
      }
      directory.parent = kept.parent
      directory.ahead = entriesAfter(kept.entries, after + ownCookies)
      directory.after = after + ownCookies
      directory.end = true
      return
    }
    const { reply, entries, mark } = await this.#part(directory, after, plus)
    if (plus) this.#noteAhead(directory.ino, after, reply)
    directory.parent = parentOf(directory.ino, reply)
    directory.ahead = entries
    directory.after = after + ownCookies
    directory.end = reply.end
    if (!reply.end && entries.length === 0) throw new FsError('EPROTO', 'read_dir: no entries and no end')
    this.#collect(directory, after, entries, mark)
    const last = reply.entries.at(-1)
    if (reply.end || last === undefined) return
    // Who wants this part wants the next one, too.
    const rest = u63(last.cookie, 'read_dir.cookie')
    directory.next = { after: rest, plus, part: this.#ask(directory.ino, rest, plus) }
    directory.next.part.catch(() => undefined)
  }

  /** The part after the master's cookie: it may be on its way. */
  #part(directory: OpenDirectory, after: bigint, plus: boolean): Promise<Part> {
    const { ino, next } = directory
    directory.next = undefined
    if (next?.after !== after || next.plus !== plus) return this.#ask(ino, after, plus)
    return next.part.catch(() => this.#ask(ino, after, plus))
  }

  /** What is told is taken in as it comes, whenever it is passed on. */
  async #ask(ino: Ino, after: bigint, plus: boolean): Promise<Part> {
    const { session, cache } = this.#context
    const { mark } = cache
    const value = { ino, after, limit: entriesPerCall, attrs: plus, removing: this.#isRemoving }
    const reply = await session.call({ $case: 'readDir', value }, 'readDir')
    return { reply, entries: this.#take(ino, reply, mark), mark }
  }

  /** Attributes that came with a listing need not be asked for ahead. */
  #noteAhead(ino: Ino, after: bigint, reply: ReadDirReply): void {
    const node = this.#context.cache.get(ino)
    const last = reply.entries.at(-1)
    if (node === undefined || last === undefined || reply.end) return
    const ahead = (node.attrsAhead ??= { after: 0n, credit: 0, fetching: undefined })
    if (ahead.after === after) ahead.after = u63(last.cookie, 'read_dir.cookie')
  }

  #take(ino: Ino, reply: Pick<ReadDirReply, 'entries'>, mark: number): Dirent[] {
    const { cache } = this.#context
    return reply.entries.map(wire => {
      const entry = direntFromWire(wire)
      cache.noteName(ino, entry.name, entry.ino, mark)
      if (wire.attr !== undefined) cache.noteQuery(attrFromWire(wire.attr, 'read_dir.attr'), mark)
      return entry
    })
  }

  /** A listing read from start to end while nothing changed is the directory's. */
  #collect(directory: OpenDirectory, after: bigint, entries: readonly Dirent[], mark: number): void {
    if (after === 0n) {
      directory.seen = [...entries]
      directory.mark = mark
    } else if (directory.seen?.at(-1)?.cookie === after + ownCookies) {
      directory.seen.push(...entries)
    } else {
      directory.seen = undefined
    }
    if (directory.seen === undefined) return
    if (directory.seen.length > listingKept) directory.seen = undefined
    else if (directory.end) {
      const { cache } = this.#context
      this.neighbours.listed(directory.ino)
      const listing = new Listing(directory.seen, directory.parent)
      cache.noteListing(directory.ino, listing, directory.mark)
      this.#walks.listed(directory.ino, listing)
      directory.seen = undefined
    }
  }

  #kept(ino: Ino): Listing | undefined {
    return this.#context.cache.listing(ino)
  }

  /**
   * Attributes to hand to the kernel with the name, which is a lookup: only if the name still leads there.
   * The entry may have been fetched some time ago.
   */
  #attrOf(parent: Ino, entry: Dirent): Attr | undefined {
    const { cache } = this.#context
    if (cache.name(parent, entry.name) !== entry.ino) return undefined
    const attr = cache.attr(entry.ino)
    return attr === undefined ? undefined : this.#attributes.shown(attr)
  }
}
