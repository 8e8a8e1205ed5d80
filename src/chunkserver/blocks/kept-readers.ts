import type { BlockId } from '../../core/ids.ts'
import type { LentBytes } from '../disk/disk.ts'
import { type BlockReader, FileReader } from './block-reader.ts'
import type { BlockRow } from './index-protocol.ts'

/** Files kept open, of those that were read last. */
const keptMax = 128

/**
 * Keeps the files of blocks that were read last open, with their rows: who reads here and there in a few blocks
 * would otherwise wait for the index, an opening and a closing with each read. A block that changes or goes must
 * be dropped: an open file keeps its space, and its row may name an instance that is no more.
 */
export class KeptReaders {
  /** The one read last comes last. */
  readonly #kept = new Map<BlockId, Entry>()

  /** A reader of the block, to be closed by the caller: one that is kept, unless it does not `suit`. */
  async use(
    id: BlockId,
    open: () => Promise<BlockReader>,
    suits: (reader: FileReader) => boolean,
  ): Promise<BlockReader> {
    const known = this.#kept.get(id)
    if (known !== undefined) {
      const reader = await known.use()
      const fits = reader !== undefined && suits(reader)
      if (fits && this.#kept.get(id) === known) this.#touch(id, known)
      if (fits) return new KeptReader(reader, known)
      if (reader !== undefined) await known.leave()
      if (this.#kept.get(id) === known) this.drop(id)
    }
    const opening = open()
    const entry = new Entry(opening)
    this.#touch(id, entry)
    try {
      const reader = await entry.use()
      if (reader !== undefined) return new KeptReader(reader, entry)
      this.#forget(id, entry)
      return await opening
    } catch (error) {
      this.#forget(id, entry)
      throw error
    }
  }

  /** What is being read of it goes on; who asks from now on sees what is there now. */
  drop(id: BlockId): void {
    const entry = this.#kept.get(id)
    this.#kept.delete(id)
    void entry?.end()
  }

  /** Lets go of those that nobody asked for since the last time. */
  sweep(): void {
    for (const [id, entry] of this.#kept) {
      if (entry.idle) this.drop(id)
      entry.idle = true
    }
  }

  async close(): Promise<void> {
    const entries = [...this.#kept.values()]
    this.#kept.clear()
    await Promise.all(entries.map(entry => entry.end()))
  }

  #touch(id: BlockId, entry: Entry): void {
    entry.idle = false
    this.#kept.delete(id)
    this.#kept.set(id, entry)
    if (this.#kept.size <= keptMax) return
    for (const oldest of this.#kept.keys()) {
      this.drop(oldest)
      return
    }
  }

  #forget(id: BlockId, entry: Entry): void {
    if (this.#kept.get(id) === entry) this.#kept.delete(id)
  }
}

/** One opening, closed when it is no longer kept and nobody reads. */
class Entry {
  readonly #reader: Promise<FileReader | undefined>
  #users = 0
  #ended = false
  idle = false

  constructor(opening: Promise<BlockReader>) {
    // A row has nothing to be kept open.
    this.#reader = opening.then(reader => (reader instanceof FileReader ? reader : undefined))
    // Who uses it hears of it.
    this.#reader.catch(() => undefined)
  }

  /** Undefined for what is no file; else to be left. */
  async use(): Promise<FileReader | undefined> {
    this.#users++
    try {
      const reader = await this.#reader
      if (reader === undefined) this.#users--
      return reader
    } catch (error) {
      this.#users--
      throw error
    }
  }

  async leave(): Promise<void> {
    this.#users--
    await this.#closeIfDone()
  }

  async end(): Promise<void> {
    this.#ended = true
    await this.#closeIfDone()
  }

  async #closeIfDone(): Promise<void> {
    if (!this.#ended || this.#users > 0) return
    const reader = await this.#reader.catch(() => undefined)
    await reader?.close()
  }
}

class KeptReader implements BlockReader {
  readonly row: BlockRow
  readonly #reader: FileReader
  readonly #entry: Entry

  constructor(reader: FileReader, entry: Entry) {
    this.row = reader.row
    this.#reader = reader
    this.#entry = entry
  }

  read(offset: number, length: number): Promise<LentBytes> {
    return this.#reader.read(offset, length)
  }

  close(): Promise<void> {
    return this.#entry.leave()
  }
}
