import type { Log } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import { type BlockId, blockIdToBytes } from '../../core/ids.ts'
import { unprovenAtOnce } from '../../core/limits.ts'
import type { UnprovenBlock } from '../../wire/gen/cairn/v1/nodes.ts'
import { listOf, toBlockId } from '../../wire/validate.ts'
import type { BlockStore } from '../blocks/block-store.ts'

/**
 * Asks the master, over one connection, about the files without a row that this node cannot prove by itself: each once. Those
 * that it proves become blocks, one after the other, since all of each is read for that.
 */
export class UnprovenFeed {
  readonly #store: BlockStore
  readonly #log: Log
  readonly #left: BlockId[]
  /** Told, and not answered: the master's word for another file is worth nothing. */
  readonly #told = new Set<BlockId>()
  #tail: Promise<void> = Promise.resolve()
  #closed = false

  constructor(store: BlockStore, log: Log) {
    this.#store = store
    this.#log = log
    this.#left = [...store.unproven.keys()]
  }

  close(): void {
    this.#closed = true
  }

  /** What the next heartbeat tells. */
  next(): UnprovenBlock[] {
    const told: UnprovenBlock[] = []
    for (const id of this.#left.splice(0, unprovenAtOnce)) {
      // A put may have stored it meanwhile.
      const found = this.#store.unproven.get(id)
      if (found === undefined) continue
      this.#told.add(id)
      told.push({ id: blockIdToBytes(id), sha256: blockIdToBytes(found.sha256), length: found.length })
    }
    return told
  }

  /** The master's word. Throws EPROTO for what are no ids. */
  proved(ids: readonly Uint8Array[]): void {
    for (const bytes of listOf(ids, unprovenAtOnce, 'heartbeat.proven')) {
      const id = toBlockId(bytes, 'heartbeat.proven')
      if (this.#told.delete(id)) this.#tail = this.#tail.then(() => this.#adopt(id))
    }
  }

  async #adopt(id: BlockId): Promise<void> {
    if (this.#closed) return
    try {
      await this.#store.adopt(id)
    } catch (error) {
      // It stays as it is, for the next connection.
      this.#log.warn('block without a row cannot be adopted', {
        block: id,
        error: FsError.from(error).message,
      })
    }
  }
}
