/**
 * The blocks of one node on this machine, read from their files past the node (short-circuit). The node tells a
 * block's checksums when it is first asked for; file and checksums are kept while the block is read. Belongs to
 * one stream to the node, and ends with it: a node that is gone is not read behind its back.
 */
import { checksumsLength } from '../../core/checksum.ts'
import type { Env, Timer } from '../../core/env.ts'
import { blockPathOf } from '../../core/block-files.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import type { BlockId } from '../../core/ids.ts'
import { second } from '../../core/units.ts'
import type { LocalFile, LocalFolder } from './local-files.ts'

/** Files kept open, of those that were read last. */
const keptMax = 256
/** A file that is open keeps its space also when the block was removed. */
const idleMs = 4 * second

export interface LocalBlock {
  readonly file: LocalFile
  /** Of all pieces. */
  readonly checksums: Uint8Array
}

interface Kept extends LocalBlock {
  usedAt: number
}

export class LocalBlocks {
  readonly #env: Env
  readonly #folder: LocalFolder
  /** The one read last comes last. */
  readonly #kept = new Map<BlockId, Kept>()
  /** Questions to the node under way. */
  readonly #asking = new Map<BlockId, Promise<LocalBlock | undefined>>()
  #sweeper: Timer | undefined
  #closed = false

  constructor(env: Env, folder: LocalFolder) {
    this.#env = env
    this.#folder = folder
  }

  /** Whether it is worth to ask for a block here. */
  get usable(): boolean {
    return !this.#closed
  }

  /**
   * A block that is open, or that the node is asked for: by `ask`, or by one who does already, whose failure
   * is of no concern here.
   */
  async find(id: BlockId, ask: () => Promise<LocalBlock | undefined>): Promise<LocalBlock | undefined> {
    const known = this.opened(id)
    if (known !== undefined) return known
    const asked = this.#asking.get(id)
    if (asked !== undefined) return asked.catch(() => undefined)
    const asking = ask()
    this.#asking.set(id, asking)
    try {
      return await asking
    } finally {
      this.#asking.delete(id)
    }
  }

  /** A block that is open. */
  opened(id: BlockId): LocalBlock | undefined {
    const kept = this.#kept.get(id)
    if (kept === undefined) return undefined
    kept.usedAt = this.#env.clock.now()
    this.#kept.delete(id)
    this.#kept.set(id, kept)
    return kept
  }

  /** Opens a block whose checksums the node told. Undefined if it cannot be read here. */
  async open(id: BlockId, length: number, checksums: Uint8Array): Promise<LocalBlock | undefined> {
    if (checksums.length !== checksumsLength(length)) return undefined
    let file: LocalFile
    try {
      file = await this.#folder.open(blockPathOf(id))
    } catch (thrown) {
      const { code } = FsError.from(thrown)
      this.#env.log.warn('cannot open the file of a block', { block: id, error: messageOf(thrown) })
      // Removed since the node told of it, or it is not where it should be. Else the next one will be no better.
      if (code !== 'ENOENT') this.close()
      return undefined
    }
    if (this.#closed || this.#kept.has(id)) {
      file.close()
      return this.opened(id)
    }
    // A view would keep the whole message.
    const kept = { file, checksums: new Uint8Array(checksums), usedAt: this.#env.clock.now() }
    this.#kept.set(id, kept)
    if (this.#kept.size > keptMax) this.#forgetOldest()
    this.#sweeper ??= this.#env.timers.after(idleMs, () => this.#sweep())
    return kept
  }

  /** Something is wrong with it. */
  forget(id: BlockId): void {
    this.#kept.get(id)?.file.close()
    this.#kept.delete(id)
  }

  close(): void {
    this.#closed = true
    this.#sweeper?.cancel()
    for (const id of [...this.#kept.keys()]) this.forget(id)
  }

  #forgetOldest(): void {
    for (const oldest of this.#kept.keys()) {
      this.forget(oldest)
      return
    }
  }

  #sweep(): void {
    this.#sweeper = undefined
    const now = this.#env.clock.now()
    for (const [id, { usedAt }] of this.#kept) if (now - usedAt >= idleMs) this.forget(id)
    if (this.#kept.size > 0) this.#sweeper = this.#env.timers.after(idleMs, () => this.#sweep())
  }
}
