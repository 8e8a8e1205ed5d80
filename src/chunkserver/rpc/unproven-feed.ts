import type { Log } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import { type BlockId, blockIdToBytes } from '../../core/ids.ts'
import { unprovenAtOnce } from '../../core/limits.ts'
import type { UnprovenBlock } from '../../wire/gen/cairn/v1/nodes.ts'
import { listOf, toBlockId } from '../../wire/validate.ts'
import type { BlockStore } from '../blocks/block-store.ts'

/**
 * Asks the master, over one connection, about the files without a row that this node cannot prove by itself: each once, and
 * again where the disk failed meanwhile. Those that it proves become blocks, one after the other, since all of each is read
 * for that; then the next are asked about at once.
 */
export class UnprovenFeed {
  readonly #store: BlockStore
  readonly #log: Log
  readonly #left: BlockId[]
  readonly #more: () => void
  /** Told, and not answered: the master's word for another file is worth nothing. */
  readonly #told = new Set<BlockId>()
  #tail: Promise<void> = Promise.resolve()
  #adopting = 0
  #closed = false

  /** `more`: what was proved is done, and there is more to ask: the next heartbeat need not wait. */
  constructor(store: BlockStore, log: Log, more: () => void) {
    this.#store = store
    this.#log = log
    this.#more = more
    this.#left = [...store.unproven.keys()]
  }

  close(): void {
    this.#closed = true
  }

  /** What the next heartbeat tells: nothing while those that were proved are being read, or the disk fails. */
  next(): UnprovenBlock[] {
    const told: UnprovenBlock[] = []
    if (this.#adopting > 0 || this.#store.space.failure !== undefined) return told
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
      if (!this.#told.delete(id)) continue
      this.#adopting++
      this.#tail = this.#tail.then(() => this.#adopt(id))
    }
    if (this.#adopting === 0) return
    this.#tail = this.#tail.then(() => {
      if (!this.#closed && this.#left.length > 0 && this.#store.space.failure === undefined) this.#more()
    })
  }

  async #adopt(id: BlockId): Promise<void> {
    this.#adopting--
    if (this.#closed) return
    try {
      await this.#store.adopt(id)
    } catch (error) {
      // It stays as it is, until the disk works again, or for the next connection.
      if (this.#store.space.failure !== undefined) this.#left.push(id)
      this.#log.warn('block without a row cannot be adopted', {
        block: id,
        error: FsError.from(error).message,
      })
    }
  }
}
