import { S_IFDIR } from '../../core/attr.ts'
import type { Ino } from '../../core/ids.ts'
import { directoriesAtOnce } from '../../core/limits.ts'
import type { Listing } from '../cache/listing.ts'
import type { FilesContext } from './context.ts'

/** Directories listed lately, among whose subdirectories a walker is looked for. */
const listedMax = 16
/** Subdirectories of one directory that were listed before others are read ahead. */
const walkedMin = 2
/** What may be read ahead and not listed yet, in the beginning; twice as much with each answer. Half of it is asked for at once. */
const windowFirst = 32
const windowMax = directoriesAtOnce
/** After an answer without any, so many are listed before it is asked again. */
const fruitlessPause = 32
const leftOutMax = 4096
/** Subdirectories that are looked at each time: some may be known already, or without a lease. */
const looksMax = 256

interface Listed {
  /** Subdirectories that nobody has listed since. */
  readonly unlisted: Set<Ino>
  /** Undefined of the root. */
  readonly parent: Ino | undefined
  /** Of those, known ones that were asked for again because names in them are about to go. */
  readonly askedAgain: Set<Ino>
  walked: number
  walking: boolean
}

/** Reads directories, and at most `limit` of these and those in them, into the cache. Says which; does not reject. */
export type FetchDirectories = (directories: readonly Ino[], limit: number) => Promise<readonly Ino[]>

/**
 * Reads directories ahead for who walks through a tree (du, find, grep -r, rm -r): their listings come many at a time
 * instead of a round trip for each.
 */
export class TreeWalks {
  readonly #context: FilesContext
  readonly #fetch: FetchDirectories
  readonly #isRemoving: () => boolean
  /** Listed, or gone through, last comes last. */
  readonly #listed = new Map<Ino, Listed>()
  readonly #coming = new Map<Ino, Promise<void>>()
  #window = windowFirst
  /** Read ahead and not listed since. */
  #ahead = 0
  /** Too large, or others may be changing them. */
  readonly #leftOut = new Set<Ino>()
  #isAsking = false
  /** Directories to be listed before more is asked for. */
  #pause = 0

  /** `isRemoving`: who walks here removes what he finds, so that write leases are wanted, too. */
  constructor(context: FilesContext, isRemoving: () => boolean, fetch: FetchDirectories) {
    this.#context = context
    this.#isRemoving = isRemoving
    this.#fetch = fetch
  }

  /** Resolves when a directory that is being read ahead was read; undefined for others. */
  coming(directory: Ino): Promise<void> | undefined {
    return this.#coming.get(directory)
  }

  /** A program has read a whole directory. */
  listed(directory: Ino, { entries, parent }: Listing): void {
    const known = this.#listed.get(parent)
    const above = known?.unlisted.delete(directory) === true ? known : undefined
    if (above !== undefined && !above.walking && ++above.walked >= walkedMin) {
      above.walking = true
      this.#window = windowFirst
      this.#ahead = 0
      this.#pause = 0
      this.#leftOut.clear()
    }
    const walking = above?.walking ?? false
    const unlisted = subdirectories(entries)
    this.#listed.delete(directory)
    if (unlisted.size > 0)
      this.#remember(directory, {
        unlisted,
        parent: parent === directory ? undefined : parent,
        askedAgain: new Set(),
        walked: 0,
        walking,
      })
    if (!walking) return
    this.#ahead = Math.max(0, this.#ahead - 1)
    this.#pause = Math.max(0, this.#pause - 1)
    if (this.#isAsking || this.#pause > 0 || this.#ahead > this.#window / 2) return
    this.#readAhead(unlisted.size > 0 ? directory : parent)
  }

  #remember(directory: Ino, listed: Listed): void {
    this.#listed.set(directory, listed)
    if (this.#listed.size <= listedMax) return
    for (const oldest of this.#listed.keys()) {
      this.#listed.delete(oldest)
      return
    }
  }

  #readAhead(from: Ino): void {
    const limit = this.#window - this.#ahead
    const wanted = this.#wanted(from, limit)
    if (wanted.length === 0) return
    this.#isAsking = true
    const read = this.#fetch(wanted, limit).then(found => {
      for (const ino of wanted) this.#coming.delete(ino)
      this.#isAsking = false
      this.#ahead += found.length
      this.#window = Math.min(windowMax, this.#window * 2)
      if (found.length === 0) this.#pause = fruitlessPause
      this.#noteLeftOut(wanted, new Set(found))
    })
    for (const ino of wanted) this.#coming.set(ino, read)
  }

  /** The master goes by the order: what comes before one that it told of was left out, and would be again. */
  #noteLeftOut(wanted: readonly Ino[], found: ReadonlySet<Ino>): void {
    const last = wanted.findLastIndex(ino => found.has(ino))
    if (this.#leftOut.size > leftOutMax) this.#leftOut.clear()
    for (const ino of last === -1 ? wanted : wanted.slice(0, last))
      if (!found.has(ino)) this.#leftOut.add(ino)
  }

  /** Most walkers go down first, then on, then on above. */
  #wanted(from: Ino, most: number): Ino[] {
    const { cache } = this.#context
    const wanted: Ino[] = []
    const removing = this.#isRemoving()
    let looks = 0
    for (let at: Ino | undefined = from; at !== undefined; ) {
      const listed = this.#listed.get(at)
      if (listed?.walking !== true) break
      this.#listed.delete(at)
      this.#listed.set(at, listed)
      for (const ino of listed.unlisted) {
        if (wanted.length === most || looks++ === looksMax) return wanted
        const node = cache.get(ino)
        // Without a lease nothing can be kept of it.
        if (node === undefined || !cache.trusted(node) || this.#coming.has(ino)) continue
        if (this.#leftOut.has(ino)) continue
        if (node.listing === undefined) wanted.push(ino)
        else if (removing && node.lease !== 'write' && !listed.askedAgain.has(ino)) {
          listed.askedAgain.add(ino)
          wanted.push(ino)
        }
      }
      at = listed.parent
    }
    return wanted
  }
}

const subdirectories = (entries: Listing['entries']): Set<Ino> =>
  new Set(entries.filter(({ type }) => type === S_IFDIR).map(({ ino }) => ino))
