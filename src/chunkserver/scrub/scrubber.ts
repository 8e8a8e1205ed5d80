import type { Env, Log } from '../../core/env.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import type { BlockId } from '../../core/ids.ts'
import { minute, second } from '../../core/units.ts'
import type { BlockStore } from '../blocks/block-store.ts'
import type { BlockRow } from '../blocks/index-protocol.ts'

export interface ScrubOptions {
  /** Bytes read per second at most; 0 stops scrubbing. */
  readonly bytesPerSecond: number
}

/** The position is written after this many blocks: a restart repeats at most so many. */
const blocksPerMark = 100
/** Between two rounds, and after an error. */
const restMs = 10 * minute
const pauseMs = 10 * second

/** Reads all blocks in turn, slowly, and reports those that do not match their checksums. Goes on where it was. */
export class Scrubber {
  readonly #env: Env
  readonly #log: Log
  readonly #store: BlockStore
  readonly #bytesPerSecond: number

  constructor(env: Env, store: BlockStore, options: ScrubOptions) {
    this.#env = env
    this.#log = env.log.child({ part: 'scrub' })
    this.#store = store
    this.#bytesPerSecond = options.bytesPerSecond
  }

  /** Until aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const over = (): boolean => signal.aborted
    while (this.#bytesPerSecond > 0 && !over()) {
      let ms: number
      try {
        await this.#round(signal)
        ms = restMs
      } catch (error) {
        if (!over()) this.#log.warn('scrubbing failed', { error: messageOf(error) })
        ms = pauseMs
      }
      await this.#sleep(ms, signal)
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    let after: BlockId | undefined = this.#store.scrubbed
    for (let count = 1; !signal.aborted; count++) {
      const row = await this.#store.index.ask('next', { after })
      after = row?.id
      if (row === undefined || count % blocksPerMark === 0) await this.#store.setScrubbed(after)
      if (row === undefined) return
      await this.#scrub(row, signal)
    }
  }

  async #scrub(row: BlockRow, signal: AbortSignal): Promise<void> {
    try {
      const reader = await this.#store.read(row.id)
      try {
        const pace = (bytes: number): Promise<void> => this.#pace(bytes, signal)
        // A second look tells rot on the disk from a bit lost on the way.
        const right = (await this.#store.verify(reader, pace)) || (await this.#store.verify(reader, pace))
        if (!right) this.#store.noteDamage(reader.row, 'its bytes do not match their checksums')
      } finally {
        await reader.close()
      }
    } catch (error) {
      const { code, message } = FsError.from(error)
      // Removed meanwhile; the end of the process; or a file that cannot be opened, which read has noted.
      if (code === 'ENOENT' || signal.aborted) return
      this.#store.noteDamage(row, message)
    }
  }

  #pace(bytes: number, signal: AbortSignal): Promise<void> {
    return this.#sleep((bytes / this.#bytesPerSecond) * second, signal)
  }

  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    await this.#env.timers.sleep(ms, signal).catch((error: unknown) => {
      if (!signal.aborted) throw error
    })
  }
}
