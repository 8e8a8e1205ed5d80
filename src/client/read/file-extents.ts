/**
 * The extents of one file, asked from the master in long runs and kept while the lease lasts.
 *
 * An answer shows the file as of some moment between question and answer. Commits of ours that were
 * answered in between are applied again on top of it: whichever of them it contained, the result is the
 * state after all of them, since they are applied in order. Any other change (`forget`) makes the answer
 * void.
 */
import { FsError } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import { MiB } from '../../core/units.ts'
import type { ExtentsReply } from '../../wire/gen/cairn/v1/session.ts'
import { blockRange, fileRange, listOf, toBlockId, toBlockLength, u64 } from '../../wire/validate.ts'
import type { Range } from '../interval-set.ts'
import type { MasterPort } from '../ports.ts'
import { type BlockRef, ExtentMap, type MappedExtent } from './extent-map.ts'

/** Asked for at once: what a sequential reader needs for a second or two. */
const runBytes = 512 * MiB
const runExtents = 1000
/** A file of more extents than this is asked for again in parts rather than kept whole. */
const extentsMax = 50_000

interface Asking extends Range {
  readonly done: Promise<unknown>
}

export class FileExtents {
  readonly #master: MasterPort
  readonly #ino: Ino
  readonly #map = new ExtentMap()
  #asking: Asking[] = []
  /** Our commits since the oldest question under way. */
  #commits: (readonly MappedExtent[])[] = []
  #version = 0

  constructor(master: MasterPort, ino: Ino) {
    this.#master = master
    this.#ino = ino
  }

  /** A part of [from, to) that must be asked for before `within` can tell. */
  firstUnknown(from: number, to: number): Range | undefined {
    return this.#map.firstUnknown(from, to)
  }

  within(from: number, to: number): MappedExtent[] {
    return this.#map.within(from, to)
  }

  /** The first known extent that ends behind `offset`, whole. */
  next(offset: number): MappedExtent | undefined {
    return this.#map.next(offset)
  }

  forget(): void {
    this.#version++
    this.#commits = []
    this.#map.clear()
  }

  /** To be remembered when a commit is sent, and given to `committed`. */
  get version(): number {
    return this.#version
  }

  /**
   * What a commit of ours has just put there. When other changes were made since it was sent (`version`),
   * what the file has there now depends on their order, and the master is asked.
   */
  committed(extents: readonly MappedExtent[], version: number): void {
    if (version !== this.#version) {
      this.#version++
      this.#commits = []
      for (const { from, to } of extents) this.#map.unset(from, to)
      return
    }
    if (this.#asking.length > 0) this.#commits.push(extents)
    this.#apply(extents)
  }

  /** Asks for a run from `gap.from` on. The caller looks again afterwards: other things may have happened. */
  async resolve(gap: Range, fileSize: number): Promise<void> {
    const known = this.#asking.find(asking => asking.from <= gap.from && gap.from < asking.to)
    if (known !== undefined) {
      await known.done
      return
    }
    const to = Math.max(gap.to, Math.min(gap.from + runBytes, fileSize))
    await this.#while({ from: gap.from, to, done: this.#ask(gap.from, to) })
  }

  /**
   * The file's first `to` bytes were asked for together with others': until `done`, which does not reject, who needs
   * them waits before asking alone. Returns what takes the answer, which throws as `resolve` rejects.
   */
  expect(to: number, done: Promise<unknown>): (reply: ExtentsReply) => void {
    const { length } = this.#commits
    const version = this.#version
    void this.#while({ from: 0, to, done })
    return reply => this.#take(reply, { from: 0, to }, version, length)
  }

  async #while(asking: Asking): Promise<void> {
    this.#asking.push(asking)
    try {
      await asking.done
    } finally {
      this.#asking = this.#asking.filter(one => one !== asking)
      if (this.#asking.length === 0) this.#commits = []
    }
  }

  async #ask(from: number, to: number): Promise<void> {
    const version = this.#version
    const commits = this.#commits.length
    const value = { ino: this.#ino, offset: BigInt(from), length: BigInt(to - from), limit: runExtents }
    const reply = await this.#master.call({ $case: 'getExtents', value }, 'extents')
    this.#take(reply, { from, to }, version, commits)
  }

  /** `version` and `commits` are as they were when the question was asked. */
  #take(reply: ExtentsReply, { from, to }: Range, version: number, commits: number): void {
    const { end, extents } = checked(this.#ino, reply, from, to)
    if (version !== this.#version) return
    if (this.#map.size > extentsMax) this.#map.clear()
    this.#map.set(from, end, extents)
    for (const commit of this.#commits.slice(commits)) this.#apply(commit)
  }

  #apply(extents: readonly MappedExtent[]): void {
    for (const extent of extents) this.#map.set(extent.from, extent.to, [extent])
  }
}

/** The answer as extents, clipped to [from, to). Throws EPROTO or EINVAL for one that makes no sense. */
function checked(
  ino: Ino,
  reply: ExtentsReply,
  from: number,
  to: number,
): { end: number; extents: MappedExtent[] } {
  const end = Math.min(to, u64(reply.end, 'extents.end'))
  if (end <= from) throw new FsError('EPROTO', `extents.end: ${end} tells nothing of ${from}`)
  const blocks: BlockRef[] = reply.blocks.map((block, index) => ({
    id: toBlockId(block.id, `extents.blocks[${index}].id`),
    length: toBlockLength(block.length),
    ino,
    at: from,
    locations: block.locations,
    // A view would keep the whole answer.
    token: new Uint8Array(block.token),
    tokenUntil: reply.tokensUntil,
  }))
  const extents: MappedExtent[] = []
  let after = 0
  for (const extent of listOf(reply.extents, runExtents, 'extents')) {
    const { offset, length } = fileRange(extent.offset, extent.length)
    const block = blocks[extent.block]
    if (block === undefined) throw new FsError('EPROTO', `extents.block: ${extent.block} of ${blocks.length}`)
    blockRange(extent.blockOffset, length, block.length)
    if (offset < after) throw new FsError('EPROTO', `extents: ${offset} lies before ${after}`)
    after = offset + length
    const start = Math.max(from, offset)
    const stop = Math.min(end, after)
    if (start < stop)
      extents.push({ from: start, to: stop, block, blockOffset: extent.blockOffset + (start - offset) })
  }
  return { end, extents }
}
