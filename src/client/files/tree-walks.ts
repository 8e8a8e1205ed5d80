import { S_IFDIR } from '../../core/attr.ts'
import type { Ino } from '../../core/ids.ts'
import type { Listing } from '../cache/inode.ts'
import type { FilesContext } from './context.ts'

/** Directories listed lately, among whose subdirectories a walker is looked for. */
const listedMax = 16
/** Subdirectories of one directory that were listed before others are read ahead. */
const walkedMin = 2
/** What may be read ahead before any of it was used; one that is used pays for two more, one that was not for one. */
const creditFirst = 16
const creditMax = 64
/** Subdirectories that are looked at each time: some may be known already, or without a lease. */
const looksMax = 256

interface Listed {
  /** Subdirectories that nobody has listed since. */
  readonly unlisted: Set<Ino>
  walked: number
  walking: boolean
}

/**
 * Reads directories ahead for who walks through a tree (du, find, grep -r, rm -r): their listings come many at a time
 * instead of a round trip for each.
 */
export class TreeWalks {
  readonly #context: FilesContext
  readonly #fetch: (directory: Ino) => Promise<void>
  /** Listed last comes last. */
  readonly #listed = new Map<Ino, Listed>()
  readonly #coming = new Map<Ino, Promise<void>>()
  #credit = creditFirst

  /** `fetch` reads a directory into the cache, and does not reject. */
  constructor(context: FilesContext, fetch: (directory: Ino) => Promise<void>) {
    this.#context = context
    this.#fetch = fetch
  }

  /** Resolves when a directory that is being read ahead was read; undefined for others. */
  coming(directory: Ino): Promise<void> | undefined {
    return this.#coming.get(directory)
  }

  /** A program has read a whole directory, of which the master was or was not asked by it. */
  listed(directory: Ino, { entries, parent }: Listing, asked: boolean): void {
    const known = this.#listed.get(parent)
    const above = known?.unlisted.delete(directory) === true ? known : undefined
    if (above !== undefined) above.walking ||= ++above.walked >= walkedMin
    const walking = above?.walking ?? false
    const below = { unlisted: subdirectories(entries), walked: 0, walking }
    this.#listed.delete(directory)
    if (below.unlisted.size > 0) this.#remember(directory, below)
    if (above === undefined || !walking) return
    this.#credit = Math.min(creditMax, this.#credit + (asked ? 1 : 2))
    // Most walkers go down first.
    this.#ahead(below.unlisted)
    this.#ahead(above.unlisted)
  }

  #remember(directory: Ino, listed: Listed): void {
    this.#listed.set(directory, listed)
    if (this.#listed.size <= listedMax) return
    for (const oldest of this.#listed.keys()) {
      this.#listed.delete(oldest)
      return
    }
  }

  #ahead(directories: Iterable<Ino>): void {
    const { cache } = this.#context
    let looks = 0
    for (const ino of directories) {
      if (this.#credit === 0 || looks++ === looksMax) return
      const node = cache.get(ino)
      // Without a lease nothing can be kept of it.
      if (node === undefined || !cache.trusted(node) || node.listing !== undefined || this.#coming.has(ino))
        continue
      this.#credit--
      this.#coming.set(
        ino,
        this.#fetch(ino).finally(() => this.#coming.delete(ino)),
      )
    }
  }
}

const subdirectories = (entries: Listing['entries']): Set<Ino> =>
  new Set(entries.filter(({ type }) => type === S_IFDIR).map(({ ino }) => ino))
