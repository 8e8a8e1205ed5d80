/**
 * Reads ranges of blocks: from the cache, from a request under way, or from the best copy. Every byte was
 * verified against checksums bound to the block asked for before anyone sees it; a copy that fails the
 * check is reported and the next one read.
 */
import { must } from '../../core/assert.ts'
import { checksumBytes, type Checksums } from '../../core/checksum.ts'
import type { Env } from '../../core/env.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import { type BlockId, blockIdToBytes } from '../../core/ids.ts'
import { dataMessageBytes, pieceBytes } from '../../core/limits.ts'
import { nsPerMs, second } from '../../core/units.ts'
import type { GetData } from '../../wire/gen/cairn/v1/blocks.ts'
import type { Location } from '../../wire/gen/cairn/v1/common.ts'
import { toBlockId } from '../../wire/validate.ts'
import type { BlockLink } from '../blocks/block-link.ts'
import type { LocalBlock, LocalBlocks } from '../blocks/local-blocks.ts'
import type { BlockStreams } from '../blocks/block-streams.ts'
import type { BlockCache } from '../cache/block-cache.ts'
import { type Frames, type Hold, OwnPiece, type Piece } from '../cache/pieces.ts'
import type { MasterPort } from '../ports.ts'
import { Gate } from '../waiting.ts'
import type { BlockRef, MappedExtent } from './extent-map.ts'
import { Fetch } from './fetch.ts'
import { type Attempt, raceCopies } from './race-copies.ts'
import { type NodeView, orderReplicas, type Place } from './replicas.ts'

export interface BlockReaderOptions {
  readonly place: Place
  /** Bytes asked for ahead of need at once, of the whole mount. */
  readonly aheadBytes: number
  /** No progress for this long sends the reader to another copy. */
  readonly stallMs: number
  /** How long copies are tried in turn before a read fails. */
  readonly giveUpMs: number
}

/**
 * Blocks asked for together that do not come for so long are asked for alone. Nodes, also older ones, tell those that wait
 * for the rate of their export more often that they do.
 */
const smallStallMs = 3 * second
/** A token is asked for anew before it expires on its way, or by clocks that differ a little. */
const tokenMarginNs = BigInt(5 * second) * nsPerMs
const pauseFirstMs = 50
const pauseMaxMs = 1 * second
/** Read from a file at once. */
const piecesAtOnce = dataMessageBytes / pieceBytes

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

/** The memory of what is read. */
export interface ReadMemory {
  readonly cache: BlockCache
  /** For what is read from files; without them all comes over the wire. */
  readonly frames: Frames | undefined
}

export class BlockReader {
  readonly #env: Env
  readonly #master: MasterPort
  readonly #streams: BlockStreams
  readonly #cache: BlockCache
  readonly #frames: Frames | undefined
  readonly #checksums: Checksums
  readonly #options: BlockReaderOptions
  readonly #fetches = new Map<BlockId, Fetch[]>()
  readonly #ahead: Gate
  readonly #view: NodeView

  constructor(
    env: Env,
    master: MasterPort,
    streams: BlockStreams,
    memory: ReadMemory,
    checksums: Checksums,
    options: BlockReaderOptions,
  ) {
    this.#env = env
    this.#master = master
    this.#streams = streams
    this.#cache = memory.cache
    this.#frames = memory.frames
    this.#checksums = checksums
    this.#options = options
    this.#ahead = new Gate(options.aheadBytes)
    this.#view = {
      isSuspect: node => streams.isSuspect(node),
      load: address => streams.load(address),
      readsFiles: address => streams.readsFiles(address),
    }
  }

  /**
   * Bytes [from, to) of the block, as views of what is cached, until `hold` is released. At once when cached.
   * Rejects with ENOENT
   * when the cluster no longer knows the block, EIO when no copy can be read.
   */
  read(block: BlockRef, from: number, to: number, hold: Hold): Uint8Array[] | Promise<Uint8Array[]> {
    const first = Math.floor(from / pieceBytes)
    const end = Math.ceil(to / pieceBytes)
    const cached = this.#cache.get(block.id)
    const pieces: Piece[] = []
    for (let index = first; index < end; index++) {
      const piece = cached?.pieces.get(index)
      if (piece === undefined) {
        this.#cache.misses++
        return (
          (end - first === 1 ? this.#readNow(block, first, from, to, hold) : undefined) ??
          this.#readMissing(block, from, to, hold)
        )
      }
      pieces.push(piece)
    }
    this.#cache.hits++
    for (const piece of pieces) hold.add(piece)
    return viewsOf(pieces, from - first * pieceBytes, to - first * pieceBytes)
  }

  /**
   * One piece of a block whose file is open, if its disk is quick: a reader who goes from place to place waits for each.
   * Undefined where that does not go well, which is for those to find out who can do something about it.
   */
  #readNow(block: BlockRef, piece: number, from: number, to: number, hold: Hold): Uint8Array[] | undefined {
    if (this.#fetches.get(block.id)?.some(fetch => fetch.covers(piece)) === true) return undefined
    for (const { node, address } of block.locations) {
      const opened = this.#streams.openedFile(address, block.id)
      if (opened === undefined || this.#streams.isSuspect(node)) continue
      const [frame] = this.#frames?.take(1) ?? []
      if (frame === undefined) return undefined
      try {
        const start = piece * pieceBytes
        const length = Math.min(pieceBytes, block.length - start)
        const count = opened.file.readNow(frame.whole, start)
        if (count === undefined || count < length) return undefined
        frame.length = length
        if (this.#firstWrong(block, piece, [frame], opened.checksums) >= 0) return undefined
        this.#cache.add(block.id, piece, [frame])
        hold.add(frame)
        return [frame.bytes.subarray(from - start, to - start)]
      } catch (thrown) {
        this.#env.log.debug('a file of a block was not read at once', {
          block: block.id,
          error: messageOf(thrown),
        })
        return undefined
      } finally {
        frame.release()
      }
    }
    return undefined
  }

  /** Brings [from, to) of the block into the cache, when there is room for it among what is read ahead. */
  async readAhead(block: BlockRef, from: number, to: number): Promise<void> {
    await this.#ahead.enter(to - from)
    try {
      const first = Math.floor(from / pieceBytes)
      const end = Math.ceil(to / pieceBytes)
      await this.#come(this.#cover(block, first, end), end)
    } catch (thrown) {
      // The reader that gets there asks again and hears of it.
      this.#env.log.debug('reading ahead failed', { block: block.id, error: messageOf(thrown) })
    } finally {
      this.#ahead.leave(to - from)
    }
  }

  /** Brings blocks of one piece into the cache, with one question to each node, and others as `readAhead`. */
  async readAheadSmall(extents: readonly MappedExtent[]): Promise<void> {
    const small = new Map<BlockId, BlockRef>()
    const others: Promise<void>[] = []
    for (const { block, blockOffset, from, to } of extents) {
      if (block.length <= pieceBytes) small.set(block.id, block)
      else others.push(this.readAhead(block, blockOffset, blockOffset + (to - from)))
    }
    const bytes = [...small.values()].reduce((sum, { length }) => sum + length, 0)
    // Without a wait, who reads one of them now finds it under way.
    if (!this.#ahead.enterNow(bytes)) await this.#ahead.enter(bytes)
    try {
      const missing = [...small.values()].filter(
        ({ id }) => this.#cache.get(id)?.pieces.has(0) !== true && !this.#fetches.has(id),
      )
      await Promise.all([...this.#byNode(missing)].map(([copy, blocks]) => this.#fetchSmall(copy, blocks)))
    } finally {
      this.#ahead.leave(bytes)
    }
    await Promise.all(others)
  }

  /** Blocks by the copy that is best for each; undefined: there is none. */
  #byNode(blocks: readonly BlockRef[]): Map<Location | undefined, BlockRef[]> {
    const nodes = new Map<bigint, Location>()
    const groups = new Map<Location | undefined, BlockRef[]>()
    for (const block of blocks) {
      const best = this.#ordered(block)[0]
      const copy = best && (nodes.get(best.node) ?? best)
      if (copy !== undefined) nodes.set(copy.node, copy)
      const group = groups.get(copy)
      if (group === undefined) groups.set(copy, [block])
      else group.push(block)
    }
    return groups
  }

  /** What does not come with the others is asked for alone, of all copies. */
  async #fetchSmall(copy: Location | undefined, blocks: readonly BlockRef[]): Promise<void> {
    const link =
      copy && !this.#streams.isSuspect(copy.node) ? this.#streams.to(copy.address, 'get') : undefined
    const fetches = blocks.map(() => new Fetch(0, 1).join())
    const take = (index: number, data: Uint8Array, checksums: Uint8Array): void => {
      const block = blocks[index]
      const fetch = fetches[index]
      if (block === undefined || fetch === undefined)
        throw new FsError('EPROTO', `small.index: ${index} of ${blocks.length}`)
      if (fetch.next > 0) return
      const { length } = block
      this.#receive(block, fetch, { next: 0 }, { offset: 0, blockLength: length, data, checksums })
    }
    const asked =
      link?.getsSmall === true
        ? link.getSmall(
            { ids: blocks.map(({ id }) => blockIdToBytes(id)), tokens: blocks.map(({ token }) => token) },
            take,
            smallStallMs,
          )
        : Promise.resolve()
    const done = asked.catch((thrown: unknown) => {
      const error = FsError.from(thrown)
      this.#env.log.debug('small blocks did not come together', { peer: link?.peer, error: error.message })
      if (copy === undefined) return
      if (error.code === 'ETIMEDOUT') this.#streams.noteQuiet(copy.node)
      else this.#streams.noteFailure(copy.node, error)
    })
    const all = blocks.map((block, index) => {
      const fetch = must(fetches[index], 'fetch of a block')
      const came = done.then(() => (fetch.next < fetch.end ? this.#run(block, fetch) : undefined))
      return this.#follow(block, fetch, came)
    })
    await Promise.all(all)
  }

  async #readMissing(
    block: BlockRef,
    from: number,
    to: number,
    hold: Hold,
    again = false,
  ): Promise<Uint8Array[]> {
    const first = Math.floor(from / pieceBytes)
    const end = Math.ceil(to / pieceBytes)
    const cached = this.#cache.get(block.id)
    const known = new Map<number, Piece>()
    for (let index = first; index < end; index++) {
      const piece = cached?.pieces.get(index)
      if (piece === undefined) continue
      hold.add(piece)
      known.set(index, piece)
    }
    const fetches = this.#cover(block, first, end)
    const pieces: Piece[] = []
    const take = (): void => {
      for (let index = first; index < end; index++) {
        const piece = known.get(index) ?? fetches.find(fetch => fetch.covers(index))?.piece(index)
        if (piece === undefined) throw new FsError('EIO', `Piece ${index} of block ${block.id} did not come`)
        hold.add(piece)
        pieces.push(piece)
      }
    }
    try {
      await this.#come(fetches, end, take)
    } catch (thrown) {
      // One that was under way for more than is wanted here may have met its damage elsewhere.
      const wider = fetches.some(fetch => fetch.first < first || fetch.end > end)
      if (again || !wider) throw thrown
      return this.#readMissing(block, from, to, hold, true)
    }
    return viewsOf(pieces, from - first * pieceBytes, to - first * pieceBytes)
  }

  /** Waits for the pieces before `end`, and has `then` look at them before the fetches may let go of them. */
  async #come(fetches: readonly Fetch[], end: number, then?: () => void): Promise<void> {
    for (const fetch of fetches) fetch.join()
    try {
      await Promise.all(fetches.map(fetch => fetch.reach(Math.min(fetch.end, end))))
      then?.()
    } finally {
      for (const fetch of fetches) fetch.leave()
    }
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
    const fetch = new Fetch(first, end).join()
    void this.#follow(block, fetch, this.#run(block, fetch))
    return fetch
  }

  /** Others find the fetch, which was joined here, until it has `come`. Never rejects. */
  async #follow(block: BlockRef, fetch: Fetch, come: Promise<void>): Promise<void> {
    const list = this.#fetches.get(block.id)
    if (list === undefined) this.#fetches.set(block.id, [fetch])
    else list.push(fetch)
    const ended = (): void => {
      const left = (this.#fetches.get(block.id) ?? []).filter(other => other !== fetch)
      if (left.length === 0) this.#fetches.delete(block.id)
      else this.#fetches.set(block.id, left)
      fetch.leave()
    }
    try {
      await come
      ended()
    } catch (thrown) {
      ended()
      fetch.fail(thrown)
    }
  }

  #ordered(block: BlockRef): Location[] {
    const salt = Number.parseInt(block.id.slice(0, 2), 16)
    return orderReplicas(block.locations, this.#options.place, this.#view, salt)
  }

  /** Tries the copies in turn until all pieces have come. Each goes on where the last one ended. */
  async #run(block: BlockRef, fetch: Fetch): Promise<void> {
    const { clock, timers, log } = this.#env
    const deadline = clock.now() + this.#options.giveUpMs
    /** Nodes whose copy is bad, and the piece: what follows it may be good again. */
    const damaged = new Map<bigint, number>()
    let lastError: unknown
    let vain = 0
    if (this.#needsToken(block)) await this.#askAgain(block)
    for (let pauseMs = 0; ; pauseMs = Math.min(pauseMaxMs, Math.max(pauseFirstMs, pauseMs * 2))) {
      if (pauseMs > 0) await timers.sleep(pauseMs)
      const copies = this.#ordered(block)
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
      await this.#askAgain(block)
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
      // Progress of any kind changes it.
      return { done, heard: () => link.heardAt + at.next }
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
    const { local } = link
    if (local !== undefined) await this.#fetchFromFile(local, link, block, fetch, at, signal)
    if (at.next >= fetch.end) return
    const onData = (data: GetData): void => this.#receive(block, fetch, at, data)
    await link.get(rest(block, fetch, at, false), onData, this.#options.stallMs, signal)
    if (at.next < fetch.end) throw new FsError('EPROTO', `${link.peer} ended a get early`)
  }

  /**
   * Reads what is left of a fetch from the block's file. Where that does not go well, the rest is left: the
   * node itself is asked, which knows its files best. Damage that was read counts as if the node had sent it.
   */
  async #fetchFromFile(
    local: LocalBlocks,
    link: BlockLink,
    block: BlockRef,
    fetch: Fetch,
    at: Position,
    signal: AbortSignal,
  ): Promise<void> {
    const ask = () => this.#openFile(local, link, block, fetch, at, signal)
    const opened = await local.find(block.id, ask)
    while (opened !== undefined && at.next < fetch.end && !signal.aborted) {
      const count = Math.min(piecesAtOnce, fetch.end - at.next)
      const frames = this.#frames?.take(count)
      if (frames === undefined) return
      try {
        const from = at.next * pieceBytes
        const bytes = Math.min(count * pieceBytes, block.length - from)
        const whole = frames.map(frame => frame.whole)
        if ((await opened.file.read(whole, from)) < bytes) throw new FsError('EIO', 'the file is too short')
        for (const [index, frame] of frames.entries())
          frame.length = Math.min(pieceBytes, bytes - index * pieceBytes)
        this.#accept(block, fetch, at, frames, this.#firstWrong(block, at.next, frames, opened.checksums))
      } catch (thrown) {
        if (isDamage(thrown)) throw thrown
        local.forget(block.id)
        const fields = { block: block.id, node: link.peer, error: messageOf(thrown) }
        this.#env.log.warn('the file of a block cannot be read', fields)
        return
      } finally {
        for (const frame of frames) frame.release()
      }
    }
  }

  /** Asks the node for the checksums. A block that is in no file comes instead. */
  async #openFile(
    local: LocalBlocks,
    link: BlockLink,
    block: BlockRef,
    fetch: Fetch,
    at: Position,
    signal: AbortSignal,
  ): Promise<LocalBlock | undefined> {
    let checksums: Uint8Array | undefined
    const onData = (data: GetData): void => {
      if (!data.inFile) this.#receive(block, fetch, at, data)
      else if (data.blockLength === block.length) checksums = data.checksums
    }
    await link.get(rest(block, fetch, at, true), onData, this.#options.stallMs, signal)
    return checksums === undefined ? undefined : await local.open(block.id, block.length, checksums)
  }

  /** Of pieces from `first` on: the number of the first one that does not match its checksum, or -1. */
  #firstWrong(block: BlockRef, first: number, pieces: readonly Piece[], checksums: Uint8Array): number {
    for (const [index, { bytes }] of pieces.entries()) {
      const number = first + index
      const expected = checksums.subarray(number * checksumBytes, (number + 1) * checksumBytes)
      if (this.#checksums.mismatch(block.id, bytes, expected, number) >= 0) return number
    }
    return -1
  }

  /** Takes what a copy sends. */
  #receive(
    block: BlockRef,
    fetch: Fetch,
    at: Position,
    frame: Pick<GetData, 'offset' | 'blockLength' | 'data' | 'checksums'>,
  ): void {
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
    const pieces: Piece[] = []
    const kept = ownBuffer(data)
    for (let offset = 0; offset < kept.length; offset += pieceBytes)
      pieces.push(new OwnPiece(kept.subarray(offset, offset + pieceBytes)))
    this.#accept(block, fetch, at, pieces, wrong)
  }

  /** Takes pieces that follow each other, all good but from `wrong` on. Another copy may be ahead. */
  #accept(block: BlockRef, fetch: Fetch, at: Position, pieces: readonly Piece[], wrong: number): void {
    const { next } = at
    // What comes before the damage is good: another copy goes on from there.
    const goodEnd = wrong < 0 ? next + pieces.length : wrong
    const first = Math.max(next, fetch.next)
    if (goodEnd > first) {
      const good = pieces.slice(first - next, goodEnd - next)
      this.#cache.add(block.id, first, good)
      fetch.deliver(good)
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

  #needsToken({ tokenUntil }: BlockRef): boolean {
    return this.#master.time() > tokenUntil - tokenMarginNs
  }

  /** Where the block is now, and the right to read it. ENOENT when the file has another one there by now. */
  async #askAgain(block: BlockRef): Promise<void> {
    const value = { ino: block.ino, offset: BigInt(block.at), length: 1n, limit: 1 }
    const reply = await this.#master.call({ $case: 'getExtents', value }, 'extents')
    const found = reply.blocks.find(one => toBlockId(one.id, 'extents.blocks.id') === block.id)
    if (found === undefined) throw new FsError('ENOENT', `Block ${block.id} is gone`)
    block.locations = found.locations
    block.token = new Uint8Array(found.token)
    block.tokenUntil = reply.tokensUntil
  }
}

/** What a copy is asked for. */
const rest = (block: BlockRef, fetch: Fetch, at: Position, local: boolean) => {
  const offset = at.next * pieceBytes
  const length = Math.min(block.length, fetch.end * pieceBytes) - offset
  return { id: blockIdToBytes(block.id), offset, length, local, token: block.token }
}

/** The bytes alone, if the buffer they came in is much larger: a cache must not keep it alive. */
function ownBuffer(data: Uint8Array): Uint8Array {
  return data.buffer.byteLength > 2 * data.length ? Uint8Array.prototype.slice.call(data) : data
}

/** [from, to) of consecutive pieces; those that lie one after the other in one buffer are joined. */
function viewsOf(pieces: readonly Piece[], from: number, to: number): Uint8Array[] {
  const views: Uint8Array[] = []
  let at = 0
  for (const { bytes: piece } of pieces) {
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
