/**
 * The data half of a mount's client: the files' writers and readers, and what they share. Nothing here
 * is authoritative but bytes that were accepted and not yet committed.
 */
import type { Checksums } from '../core/checksum.ts'
import type { Env } from '../core/env.ts'
import { messageOf } from '../core/errors.ts'
import type { Ino } from '../core/ids.ts'
import { writeBackAgeMs } from '../core/limits.ts'
import type { Network } from '../core/network.ts'
import type { RequestLog } from '../core/request-log.ts'
import { MiB, second } from '../core/units.ts'
import { BlockStreams } from './blocks/block-streams.ts'
import type { LocalFiles } from './blocks/local-files.ts'
import { BlockCache } from './cache/block-cache.ts'
import { Frames } from './cache/pieces.ts'
import { type FileParts, FileState } from './file-state.ts'
import type { AttrPort, DataPath, FileData, MasterPort } from './ports.ts'
import { BlockReader } from './read/block-reader.ts'
import type { Place } from './read/replicas.ts'
import { SmallFiles } from './read/small-files.ts'
import type { DataTraffic } from './session/lease-holder.ts'
import { BlockStore } from './write/block-store.ts'
import { ChunkPool } from './write/chunk-pool.ts'
import { SpaceGrant } from './write/space-grant.ts'
import { WriteBack } from './write/write-back.ts'

export interface DataPathOptions {
  /** This machine and where it stands, to choose near copies. */
  readonly place: Place
  /** Memory of accepted bytes, dirty and in flight. */
  readonly writeBytes: number
  /** Memory of verified bytes of blocks. */
  readonly cacheBytes: number
  /** Memory of small blocks that were written here lately, beside that. */
  readonly writtenBytes: number
  /** How far one sequential reader is read ahead of. */
  readonly readAheadBytes: number
  readonly writeBackAgeMs: number
  /** A put that does not move for this long goes to another node. The nodes of a chain share it. */
  readonly putStallMs: number
  /** A get that does not move for this long goes to another copy. */
  readonly getStallMs: number
  /** How long storing or reading a block is tried before it is an error. */
  readonly giveUpMs: number
  /** Reads the files of chunkservers on this machine past them, if it can. */
  readonly local?: LocalFiles | undefined
  /** Hears of what was slow. */
  readonly requests?: RequestLog | undefined
}

export const dataPathDefaults: Omit<DataPathOptions, 'place' | 'local' | 'requests'> = {
  writeBytes: 64 * MiB,
  cacheBytes: 64 * MiB,
  writtenBytes: 32 * MiB,
  readAheadBytes: 16 * MiB,
  writeBackAgeMs,
  putStallMs: 15 * second,
  getStallMs: 5 * second,
  giveUpMs: 30 * second,
}

/** How long an unmount tries again to store what cannot be stored. */
const closeMs = 30 * second
/** Full-size buffers kept for the next write. */
const keptShare = 4
/** Bytes of blocks being put, and being read ahead, at once, as parts of the memory they come from. */
const inFlightShare = 2
const aheadShare = 4
/** Memory of blocks that are being read, beside what is cached, as part of it. */
const framesShare = 1 / 2

/** Closed files whose extents are kept for the next open: some 2 KB each. */
const idleMax = 4096
/** They are looked through when so many more were closed. */
const idleMore = 256

/** What a mount's data path did and holds. */
export interface DataCounts {
  readonly dirtyBytes: number
  readonly storedBytes: number
  readonly blocksGivenUp: number
  readonly cacheHits: number
  readonly cacheMisses: number
  readonly cacheBytes: number
  readonly fetchedBytes: number
}

export class ClientDataPath implements DataPath {
  readonly #env: Env
  readonly #streams: BlockStreams
  readonly #writeBack: WriteBack
  readonly #parts: FileParts
  readonly #blocks: BlockStore
  readonly #cache: BlockCache
  readonly #small: SmallFiles
  readonly #files = new Map<Ino, FileState>()
  /** Of them, those that nobody has open, longest closed first. */
  readonly #idle = new Set<Ino>()
  #closedSince = 0

  /** Made when the session is: `master.facts` must be known. */
  constructor(
    env: Env,
    network: Network,
    master: MasterPort,
    attrs: AttrPort,
    checksums: Checksums,
    options: DataPathOptions,
  ) {
    this.#env = env
    const { clock, timers, log } = env
    this.#streams = new BlockStreams(
      env,
      network,
      master,
      options.place.host,
      options.local,
      options.requests,
    )
    const pool = new ChunkPool(master.facts.blockBytes, options.writeBytes / keptShare, () =>
      this.#writeBack.released(),
    )
    const space = new SpaceGrant(
      clock,
      timers,
      master,
      () => this.dirtyBytes,
      (message, fields) => log.warn(message, fields),
    )
    this.#writeBack = new WriteBack(clock, timers, pool, space, {
      maxBytes: options.writeBytes,
      ageMs: options.writeBackAgeMs,
    })
    const cache = (this.#cache = new BlockCache(options.cacheBytes, options.writtenBytes))
    const blocks = (this.#blocks = new BlockStore(env, master, this.#streams, {
      inFlightBytes: options.writeBytes / inFlightShare,
      stallMs: options.putStallMs,
      giveUpMs: options.giveUpMs,
    }))
    const { local } = options
    const frames = local && new Frames(local.memory(options.cacheBytes * (1 + framesShare)))
    const reader = new BlockReader(env, master, this.#streams, { cache, frames }, checksums, {
      place: options.place,
      aheadBytes: options.cacheBytes / aheadShare,
      stallMs: options.getStallMs,
      giveUpMs: options.giveUpMs,
    })
    this.#small = new SmallFiles(env, master, reader)
    this.#parts = {
      master,
      attrs,
      blocks: reader,
      write: {
        env,
        master,
        attrs,
        checksums,
        pool,
        space,
        blocks,
        schedule: this.#writeBack,
        written: cache,
      },
      aheadBytes: Math.min(options.readAheadBytes, options.cacheBytes / aheadShare),
    }
  }

  /** For metrics. */
  get counts(): DataCounts {
    const { storedBytes, givenUp } = this.#blocks
    const { hits, misses, addedBytes, bytes } = this.#cache
    return {
      dirtyBytes: this.dirtyBytes,
      storedBytes,
      blocksGivenUp: givenUp,
      cacheHits: hits,
      cacheMisses: misses,
      cacheBytes: bytes,
      fetchedBytes: addedBytes,
    }
  }

  get traffic(): DataTraffic {
    return { fetchedBytes: this.#cache.addedBytes, storedBytes: this.#blocks.storedBytes }
  }

  get dirtyBytes(): number {
    return this.#writeBack.dirtyBytes
  }

  prefetch(files: readonly { readonly ino: Ino; readonly size: number }[]): void {
    void this.#small.readAhead(files.map(({ ino, size }) => this.#state(ino).small(ino, size)))
  }

  file(ino: Ino): FileData {
    return this.#state(ino)
  }

  #state(ino: Ino): FileState {
    let file = this.#files.get(ino)
    if (file === undefined) this.#files.set(ino, (file = new FileState(ino, this.#parts)))
    file.released = false
    this.#idle.delete(ino)
    return file
  }

  known(ino: Ino): FileData | undefined {
    return this.#files.get(ino)
  }

  closed(ino: Ino): void {
    const file = this.#files.get(ino)
    if (file === undefined) return
    if (file.dirtyBytes > 0) file.flushSoon()
    this.#idle.delete(ino)
    this.#idle.add(ino)
    if (++this.#closedSince >= idleMore && this.#idle.size > idleMax) this.#dropIdle()
  }

  release(ino: Ino): void {
    const file = this.#files.get(ino)
    if (file === undefined) return
    file.released = true
    if (file.dirtyBytes === 0) this.#drop(ino, file)
    else void this.#dropWhenClean(ino, file)
  }

  flushAll(): Promise<void> {
    return this.#writeBack.flushAll()
  }

  writeBackAll(): void {
    this.#writeBack.writeBackAll()
  }

  *failed(): Generator<Ino> {
    for (const [ino, file] of this.#files) if (file.writer.hasError) yield ino
  }

  async close(): Promise<void> {
    try {
      await this.#writeBack.storeAll(closeMs)
    } finally {
      for (const [ino, file] of this.#files)
        if (file.dirtyBytes > 0)
          this.#env.log.error('written data is lost: the mount ends', { ino, bytes: file.dirtyBytes })
      this.#writeBack.close()
      this.#streams.close()
    }
  }

  /** What cannot be forgotten yet, most of all what is not stored, is looked at again much later. */
  #dropIdle(): void {
    this.#closedSince = 0
    let looks = Math.min(this.#idle.size - idleMax, 4 * idleMore)
    for (const ino of this.#idle) {
      if (looks-- === 0 || this.#idle.size <= idleMax) return
      this.#idle.delete(ino)
      const file = this.#files.get(ino)
      if (file === undefined) continue
      if (file.isForgettable) this.#drop(ino, file)
      else this.#idle.add(ino)
    }
  }

  async #dropWhenClean(ino: Ino, file: FileState): Promise<void> {
    try {
      await file.flush()
    } catch (thrown) {
      // It stays dirty, known, and due for another try.
      this.#env.log.warn('a released file could not be stored', { ino, error: messageOf(thrown) })
    }
    if (file.released && file.dirtyBytes === 0) this.#drop(ino, file)
  }

  #drop(ino: Ino, file: FileState): void {
    file.writer.dropClean()
    this.#writeBack.forget(file.writer)
    this.#idle.delete(ino)
    if (this.#files.get(ino) === file) this.#files.delete(ino)
  }
}
