/**
 * Reads ranges of blocks: from the cache, from a request under way, or from the best copy. Every byte was
 * verified against checksums bound to the block asked for before anyone sees it; a copy that fails the
 * check is reported and the next one read.
 */
import type { Checksums } from '../../core/checksum.ts'
import type { Env } from '../../core/env.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import { type BlockId, blockIdToBytes } from '../../core/ids.ts'
import { pieceBytes } from '../../core/limits.ts'
import { second } from '../../core/units.ts'
import type { GetData } from '../../wire/gen/cairn/v1/blocks.ts'
import type { Location } from '../../wire/gen/cairn/v1/common.ts'
import { toBlockId } from '../../wire/validate.ts'
import type { BlockLink } from '../blocks/block-link.ts'
import type { BlockStreams } from '../blocks/block-streams.ts'
import type { BlockCache } from '../cache/block-cache.ts'
import type { MasterPort } from '../ports.ts'
import { Gate } from '../waiting.ts'
import type { BlockRef } from './extent-map.ts'
import { Fetch } from './fetch.ts'
import { type Attempt, raceCopies } from './race-copies.ts'
import { orderReplicas, type Place } from './replicas.ts'

export interface BlockReaderOptions {
  readonly place: Place
  /** Bytes asked for ahead of need at once, of the whole mount. */
  readonly aheadBytes: number
  /** No progress for this long sends the reader to another copy. */
  readonly stallMs: number
  /** How long copies are tried in turn before a read fails. */
  readonly giveUpMs: number
}

const pauseFirstMs = 50
const pauseMaxMs = 1 * second

/** The bytes of a copy are not those of the block. */
class DamagedCopy extends Error {
  override readonly name = 'DamagedCopy'
}

/** How far a copy has sent. */
interface Position {
  next: number
}

const isDamage = (thrown: unknown): boolean =>
  thrown instanceof FsError && thrown.cause instanceof DamagedCopy

export class BlockReader {
  readonly #env: Env
  readonly #master: MasterPort
  readonly #streams: BlockStreams
  readonly #cache: BlockCache
  readonly #checksums: Checksums
  readonly #options: BlockReaderOptions
  readonly #fetches = new Map<BlockId, Fetch[]>()
  readonly #ahead: Gate

  constructor(
    env: Env,
    master: MasterPort,
    streams: BlockStreams,
    cache: BlockCache,
    checksums: Checksums,
    options: BlockReaderOptions,
  ) {
    this.#env = env
    this.#master = master
    this.#streams = streams
    this.#cache = cache
    this.#checksums = checksums
    this.#options = options
    this.#ahead = new Gate(options.aheadBytes)
  }

  /**
   * Bytes [from, to) of the block, as views of what is cached. At once when cached. Rejects with ENOENT
   * when the cluster no longer knows the block, EIO when no copy can be read.
   */
  read(block: BlockRef, from: number, to: number): Uint8Array[] | Promise<Uint8Array[]> {
    const first = Math.floor(from / pieceBytes)
    const end = Math.ceil(to / pieceBytes)
    const cached = this.#cache.get(block.id)
    const pieces: Uint8Array[] = []
    for (let index = first; index < end; index++) {
      const piece = cached?.pieces.get(index)
      if (piece === undefined) return this.#readMissing(block, from, to)
      pieces.push(piece)
    }
    return viewsOf(pieces, from - first * pieceBytes, to - first * pieceBytes)
  }

  /** Brings [from, to) of the block into the cache, when there is room for it among what is read ahead. */
  async readAhead(block: BlockRef, from: number, to: number): Promise<void> {
    await this.#ahead.enter(to - from)
    try {
      const first = Math.floor(from / pieceBytes)
      const end = Math.ceil(to / pieceBytes)
      await Promise.all(this.#cover(block, first, end).map(fetch => fetch.reach(Math.min(fetch.end, end))))
    } catch (thrown) {
      // The reader that gets there asks again and hears of it.
      this.#env.log.debug('reading ahead failed', { block: block.id, error: messageOf(thrown) })
    } finally {
      this.#ahead.leave(to - from)
    }
  }

  async #readMissing(block: BlockRef, from: number, to: number, again = false): Promise<Uint8Array[]> {
    const first = Math.floor(from / pieceBytes)
    const end = Math.ceil(to / pieceBytes)
    const cached = this.#cache.get(block.id)
    const known = new Map<number, Uint8Array>()
    for (let index = first; index < end; index++) {
      const piece = cached?.pieces.get(index)
      if (piece !== undefined) known.set(index, piece)
    }
    const fetches = this.#cover(block, first, end)
    try {
      await Promise.all(fetches.map(fetch => fetch.reach(Math.min(fetch.end, end))))
    } catch (thrown) {
      // One that was under way for more than is wanted here may have met its damage elsewhere.
      const wider = fetches.some(fetch => fetch.first < first || fetch.end > end)
      if (again || !wider) throw thrown
      return this.#readMissing(block, from, to, true)
    }
    const pieces: Uint8Array[] = []
    for (let index = first; index < end; index++) {
      const piece = known.get(index) ?? fetches.find(fetch => fetch.covers(index))?.piece(index)
      if (piece === undefined) throw new FsError('EIO', `Piece ${index} of block ${block.id} did not come`)
      pieces.push(piece)
    }
    return viewsOf(pieces, from - first * pieceBytes, to - first * pieceBytes)
  }

  /** Requests, new and under way, that bring what is not cached of pieces [first, end). */
  #cover(block: BlockRef, first: number, end: number): Fetch[] {
    const cached = this.#cache.get(block.id)
    const underWay = this.#fetches.get(block.id) ?? []
    const covering = new Set<Fetch>()
    for (let index = first; index < end; index++) {
      if (cached?.pieces.has(index) === true) continue
      const known = underWay.find(fetch => fetch.covers(index))
      if (known !== undefined) {
        covering.add(known)
        continue
      }
      const start = index
      while (
        index + 1 < end &&
        cached?.pieces.has(index + 1) !== true &&
        !underWay.some(fetch => fetch.covers(index + 1))
      )
        index++
      covering.add(this.#start(block, start, index + 1))
    }
    return [...covering]
  }

  #start(block: BlockRef, first: number, end: number): Fetch {
    const fetch = new Fetch(first, end)
    const list = this.#fetches.get(block.id)
    if (list === undefined) this.#fetches.set(block.id, [fetch])
    else list.push(fetch)
    const ended = (): void => {
      const left = (this.#fetches.get(block.id) ?? []).filter(other => other !== fetch)
      if (left.length === 0) this.#fetches.delete(block.id)
      else this.#fetches.set(block.id, left)
    }
    this.#run(block, fetch).then(ended, (thrown: unknown) => {
      ended()
      fetch.fail(thrown)
    })
    return fetch
  }

  /** Tries the copies in turn until all pieces have come. Each goes on where the last one ended. */
  async #run(block: BlockRef, fetch: Fetch): Promise<void> {
    const { clock, timers, log } = this.#env
    const deadline = clock.now() + this.#options.giveUpMs
    /** Nodes whose copy is bad, and the piece: what follows it may be good again. */
    const damaged = new Map<bigint, number>()
    let lastError: unknown
    let vain = 0
    for (let pauseMs = 0; ; pauseMs = Math.min(pauseMaxMs, Math.max(pauseFirstMs, pauseMs * 2))) {
      if (pauseMs > 0) await timers.sleep(pauseMs)
      const salt = Number.parseInt(block.id.slice(0, 2), 16)
      const copies = orderReplicas(
        block.locations,
        this.#options.place,
        { isSuspect: node => this.#streams.isSuspect(node), load: address => this.#streams.load(address) },
        salt,
      )
      const usable = copies.filter(copy => damaged.get(copy.node) !== fetch.next)
      // Every copy is bad, and the master knows of no other: waiting does not help.
      if (copies.length > 0 && usable.length === 0 && ++vain > 2) break
      const done = await raceCopies(timers, {
        copies: usable,
        begin: (copy, signal) => this.#begin(copy, block, fetch, signal, damaged),
        failed: (copy, thrown) => {
          lastError = thrown
          this.#noteFailure(block, copy, thrown)
        },
        quiet: copy => this.#streams.noteQuiet(copy.node),
      })
      if (done !== undefined) {
        this.#streams.noteSuccess(done.node)
        return
      }
      if (clock.now() > deadline) break
      await this.#locateAgain(block)
    }
    const error = lastError === undefined ? 'nobody has it' : messageOf(lastError)
    log.error('a block cannot be read', { block: block.id, error })
    throw new FsError('EIO', `Cannot read block ${block.id}: ${error}`)
  }

  /** Asks a copy for what is left of a fetch. `damaged` learns of the piece that is bad. */
  #begin(
    copy: Location,
    block: BlockRef,
    fetch: Fetch,
    signal: AbortSignal,
    damaged: Map<bigint, number>,
  ): Attempt {
    const at = { next: fetch.next }
    try {
      const link = this.#streams.to(copy.address, 'get')
      const done = this.#fetchFrom(link, block, fetch, at, signal)
      done.catch((thrown: unknown) => {
        if (isDamage(thrown)) damaged.set(copy.node, at.next)
      })
      return { done, heard: () => link.heardAt }
    } catch (thrown) {
      return { done: Promise.reject(FsError.from(thrown)), heard: () => 0 }
    }
  }

  async #fetchFrom(
    link: BlockLink,
    block: BlockRef,
    fetch: Fetch,
    at: Position,
    signal: AbortSignal,
  ): Promise<void> {
    const offset = at.next * pieceBytes
    const length = Math.min(block.length, fetch.end * pieceBytes) - offset
    const what = { id: blockIdToBytes(block.id), offset, length }
    await link.get(what, data => this.#receive(block, fetch, at, data), this.#options.stallMs, signal)
    if (at.next < fetch.end) throw new FsError('EPROTO', `${link.peer} ended a get early`)
  }

  /** Takes what a copy sends. Another copy may be ahead of it: then its pieces are here already. */
  #receive(block: BlockRef, fetch: Fetch, at: Position, frame: GetData): void {
    const { data } = frame
    const { next } = at
    if (frame.offset !== next * pieceBytes || frame.blockLength !== block.length)
      throw new DamagedCopy(
        `bytes at ${frame.offset} of ${frame.blockLength}, asked for ${next * pieceBytes} of ${block.length}`,
      )
    const end = frame.offset + data.length
    const whole = end === block.length || (end < block.length && data.length % pieceBytes === 0)
    const pieceEnd = Math.ceil(end / pieceBytes)
    if (data.length === 0 || !whole || pieceEnd > fetch.end)
      throw new DamagedCopy(
        `${data.length} bytes at ${frame.offset} of ${block.length} are not the pieces asked for`,
      )
    const wrong = this.#checksums.mismatch(block.id, data, frame.checksums, next)
    // What comes before the damage is good: another copy goes on from there.
    const goodEnd = wrong < 0 ? pieceEnd : wrong
    const first = Math.max(next, fetch.next)
    if (goodEnd > first) {
      const pieces: Uint8Array[] = []
      const from = (first - next) * pieceBytes
      const kept = ownBuffer(data.subarray(from, (goodEnd - next) * pieceBytes))
      for (let offset = 0; offset < kept.length; offset += pieceBytes)
        pieces.push(kept.subarray(offset, offset + pieceBytes))
      this.#cache.add(block.id, first, pieces)
      fetch.deliver(pieces)
    }
    at.next = goodEnd
    if (wrong >= 0) throw new DamagedCopy(`the checksum of piece ${wrong} does not match`)
  }

  #noteFailure(block: BlockRef, copy: Location, thrown: unknown): void {
    const { node, address } = copy
    const what = messageOf(thrown)
    this.#env.log.warn('a copy of a block cannot be read', { block: block.id, node, address, error: what })
    if (!isDamage(thrown)) {
      this.#streams.noteFailure(node, FsError.from(thrown))
      return
    }
    const report = { id: blockIdToBytes(block.id), node, what: what.slice(0, 200) }
    this.#master.call({ $case: 'reportDamage', value: report }, 'done').catch((failed: unknown) => {
      const fields = { block: block.id, node, error: messageOf(failed) }
      this.#env.log.warn('the master did not hear of a damaged copy', fields)
    })
  }

  /** Where the block is now. ENOENT when it is nowhere: the extents that name it are old. */
  async #locateAgain(block: BlockRef): Promise<void> {
    const value = { ids: [blockIdToBytes(block.id)] }
    const reply = await this.#master.call({ $case: 'locate', value }, 'locate')
    const found = reply.blocks.find(one => toBlockId(one.id, 'locate.id') === block.id)
    if (found === undefined) throw new FsError('ENOENT', `Block ${block.id} is gone`)
    block.locations = found.locations
  }
}

/** The bytes alone, if the buffer they came in is much larger: a cache must not keep it alive. */
function ownBuffer(data: Uint8Array): Uint8Array {
  return data.buffer.byteLength > 2 * data.length ? Uint8Array.prototype.slice.call(data) : data
}

/** [from, to) of consecutive pieces; those that lie one after the other in one buffer are joined. */
function viewsOf(pieces: readonly Uint8Array[], from: number, to: number): Uint8Array[] {
  const views: Uint8Array[] = []
  let at = 0
  for (const piece of pieces) {
    const start = Math.max(0, from - at)
    const end = Math.min(piece.length, to - at)
    at += piece.length
    if (start >= end) continue
    const last = views.at(-1)
    const follows =
      last?.buffer === piece.buffer && last.byteOffset + last.length === piece.byteOffset + start
    if (follows)
      views[views.length - 1] = new Uint8Array(last.buffer, last.byteOffset, last.length + end - start)
    else views.push(piece.subarray(start, end))
  }
  return views
}
