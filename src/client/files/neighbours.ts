import { type Dirent, isRegular } from '../../core/attr.ts'
import type { Ino } from '../../core/ids.ts'
import { directoriesAtOnce, pieceBytes } from '../../core/limits.ts'
import { MiB } from '../../core/units.ts'
import type { Inode } from '../cache/inode.ts'
import type { FilesContext } from './context.ts'

/** Directories whose listing was kept lately, among which a reader is looked for. */
const directoriesMax = 4
/** A reader of files one after the other may leave out some: folders, what it does not care for. */
const leftOutMax = 4
/** Files opened in order before the next ones are fetched. */
const inOrderMin = 3
/** How many entries are looked at ahead, at once. */
const aheadMax = 64
/** Bytes of the files of directories that came together. Who comes by those that were left out fetches them then. */
const arrivedBytesMax = 8 * MiB

interface Reader {
  readonly directory: Ino
  /** Of its listing. */
  readonly order: Order
  /** The entry opened last. */
  at: number
  inOrder: number
  /** Up to here files were fetched ahead. */
  ahead: number
}

/** Programs sort what they list, or take it as it comes. */
const orders = ['sorted', 'listed'] as const
type Order = (typeof orders)[number]

/**
 * Fetches small files ahead for who reads those of a directory in the order of its listing, or of their names:
 * their extents and bytes come many at a time instead of two round trips for each.
 */
export class Neighbours {
  readonly #context: FilesContext
  readonly #attributesAhead: (directory: Ino) => Promise<void> | undefined
  /** Listed last comes last. */
  #directories: Ino[] = []
  /** By the entries of the listing. */
  readonly #sorted = new WeakMap<readonly Dirent[], readonly Ino[]>()
  readonly #listed = new WeakMap<readonly Dirent[], readonly Ino[]>()
  #reader: Reader | undefined
  /** Directories that were read ahead before anybody was seen to read what is in them. */
  readonly #arrived = new Set<Ino>()
  /** The reader before read what its directory had: this one most likely does, too. */
  #thorough = false

  constructor(context: FilesContext, attributesAhead: (directory: Ino) => Promise<void> | undefined) {
    this.#context = context
    this.#attributesAhead = attributesAhead
  }

  /** The whole listing of a directory was read. */
  listed(directory: Ino): void {
    this.#directories = [...this.#directories.filter(ino => ino !== directory), directory].slice(
      -directoriesMax,
    )
  }

  /** Directories were read ahead, for who walks through the tree. */
  arrived(directories: readonly Ino[]): void {
    for (const directory of directories) this.#arrived.add(directory)
    if (this.#thorough) this.#fetchArrived()
    for (const oldest of this.#arrived) {
      if (this.#arrived.size <= directoriesAtOnce) break
      this.#arrived.delete(oldest)
    }
  }

  #fetchArrived(): void {
    const directories = [...this.#arrived]
    this.#arrived.clear()
    const small: { readonly ino: Ino; readonly size: number }[] = []
    let bytes = 0
    for (const directory of directories)
      for (const ino of this.#files(directory, 'listed').slice(0, aheadMax)) {
        const file = this.#untouched(this.#context.cache.get(ino))
        if (file === undefined || bytes > arrivedBytesMax) continue
        small.push(file)
        bytes += file.size
      }
    if (small.length > 0) this.#context.data.prefetch(small)
  }

  /** A file was opened for reading. */
  opened(ino: Ino): void {
    if (this.#directories.length === 0) return
    const reader = this.#follow(ino) ?? this.#find(ino)
    if (reader === undefined || (reader.inOrder < inOrderMin && !this.#thorough)) return
    if (reader.ahead - reader.at > aheadMax / 2) return
    const from = Math.max(reader.ahead, reader.at + 1)
    reader.ahead = reader.at + 1 + aheadMax
    void this.#fetch(reader, from, reader.ahead)
  }

  /** The reader, if it went on to a later entry. */
  #follow(ino: Ino): Reader | undefined {
    const reader = this.#reader
    if (reader === undefined) return undefined
    const files = this.#files(reader.directory, reader.order)
    for (let at = reader.at; at <= reader.at + 1 + leftOutMax; at++) {
      if (files[at] !== ino) continue
      if (at > reader.at) reader.inOrder++
      reader.at = at
      return reader
    }
    return undefined
  }

  /** Who reads a directory begins with its first files: others are not looked for. */
  #find(ino: Ino): Reader | undefined {
    for (const directory of this.#directories)
      for (const order of orders) {
        const at = this.#files(directory, order)
          .slice(0, 1 + leftOutMax)
          .indexOf(ino)
        if (at < 0) continue
        this.#thorough = this.#reader !== undefined && this.#isThorough(this.#reader)
        if (this.#thorough) this.#fetchArrived()
        return (this.#reader = { directory, order, at, inOrder: 1, ahead: 0 })
      }
    return undefined
  }

  #isThorough({ directory, order, at, inOrder }: Reader): boolean {
    if (inOrder >= inOrderMin) return true
    const { cache } = this.#context
    const isFile = (ino: Ino): boolean => isRegular(cache.get(ino)?.attr?.mode ?? 0)
    return !this.#files(directory, order)
      .slice(at + 1)
      .some(isFile)
  }

  async #fetch(
    { directory, order }: Pick<Reader, 'directory' | 'order'>,
    from: number,
    to: number,
  ): Promise<void> {
    const files = this.#files(directory, order).slice(from, to)
    const { cache } = this.#context
    if (files.some(ino => cache.attr(ino) === undefined)) await this.#attributesAhead(directory)
    const small = files.map(ino => this.#untouched(cache.get(ino))).filter(file => file !== undefined)
    if (small.length > 0) this.#context.data.prefetch(small)
  }

  /** Only what nobody has touched here, and under its lease, with which what is fetched goes. */
  #untouched(node: Inode | undefined): { readonly ino: Ino; readonly size: number } | undefined {
    const { cache, data } = this.#context
    const attr = node?.attr
    if (node === undefined || attr === undefined || !cache.trusted(node) || node.removed) return undefined
    if (!isRegular(attr.mode) || attr.size === 0 || attr.size > pieceBytes) return undefined
    if (node.opens > 0 || data.known(node.ino) !== undefined) return undefined
    return { ino: node.ino, size: attr.size }
  }

  /** Entries in an order; none when the listing went. */
  #files(directory: Ino, order: Order): readonly Ino[] {
    const { cache } = this.#context
    const entries = cache.listing(directory)?.entries
    if (entries === undefined) return []
    const known = order === 'sorted' ? this.#sorted : this.#listed
    let files = known.get(entries)
    if (files === undefined) {
      const ordered = order === 'sorted' ? [...entries].sort(byName) : entries
      known.set(entries, (files = ordered.map(({ ino }) => ino)))
    }
    return files
  }
}

/** As strcmp has it: names are bytes. */
const byName = (a: Dirent, b: Dirent): number => (a.name < b.name ? -1 : 1)
