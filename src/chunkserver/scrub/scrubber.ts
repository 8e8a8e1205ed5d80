import type { Env, Log } from '../../core/env.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import type { BlockId } from '../../core/ids.ts'
import { minute, second } from '../../core/units.ts'
import type { ScrubState } from '../../wire/gen/cairn/v1/common.ts'
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

/** Reading takes at most this part of the time, so that a disk that is busy with others is left to them. */
const busyPart = 0.2

/**
 * Reads all blocks in turn, slowly, and reports those that do not match their checksums. Goes on where it was, also
 * after a restart.
 */
export class Scrubber {
  readonly #env: Env
  readonly #log: Log
  readonly #store: BlockStore
  readonly #usual: number
  /** Bytes a second in this round. */
  #bytesPerSecond: number
  /** Ends the rest, or the round, when one is asked for. */
  #again = new AbortController()
  #after: BlockId | undefined
  #resting = false
  #blocks = 0
  #bytes = 0
  #finished = 0n
  /** When the last sleep ended. */
  #awakeMs = 0

  constructor(env: Env, store: BlockStore, options: ScrubOptions) {
    this.#env = env
    this.#log = env.log.child({ part: 'scrub' })
    this.#store = store
    this.#usual = this.#bytesPerSecond = options.bytesPerSecond
  }

  get state(): ScrubState {
    // Ids are hashes: how far it is in them is how far it is in all blocks.
    const seen = this.#after === undefined ? 0 : Number.parseInt(this.#after.slice(0, 8), 16) / 2 ** 32
    return {
      permille: this.#resting ? 1000 : Math.floor(seen * 1000),
      blocks: BigInt(this.#blocks),
      bytes: BigInt(this.#bytes),
      damaged: BigInt(this.#store.damages.found),
      bytesPerSecond: BigInt(this.#bytesPerSecond),
      finished: this.#finished,
    }
  }

  /** Begins a round now, at its own rate (0: the usual one). */
  async start(bytesPerSecond: number): Promise<void> {
    this.#bytesPerSecond = bytesPerSecond === 0 ? this.#usual : bytesPerSecond
    // First: a round that goes on would note how far it is.
    this.#again.abort()
    await this.#store.setScrubbed(undefined)
  }

  /** Until aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const over = (): boolean => signal.aborted
    const onAbort = (): void => this.#again.abort()
    signal.addEventListener('abort', onAbort, { once: true })
    while (!over()) {
      this.#again = new AbortController()
      // Whoever turned it off may still ask for a round.
      if (this.#bytesPerSecond <= 0) await this.#sleep(restMs)
      else await this.#roundAndRest(over)
    }
    signal.removeEventListener('abort', onAbort)
  }

  async #roundAndRest(over: () => boolean): Promise<void> {
    try {
      if (await this.#round()) {
        this.#finished = this.#env.clock.wall()
        this.#bytesPerSecond = this.#usual
        this.#resting = true
        await this.#sleep(restMs)
      }
    } catch (error) {
      if (!over()) this.#log.warn('scrubbing failed', { error: messageOf(error) })
      await this.#sleep(pauseMs)
    }
    this.#resting = false
  }

  /** True if it came to its end. */
  async #round(): Promise<boolean> {
    const { signal } = this.#again
    this.#after = this.#store.scrubbed
    this.#blocks = this.#bytes = 0
    this.#awakeMs = this.#env.clock.now()
    for (let count = 1; !signal.aborted; count++) {
      const row = await this.#store.index.ask('next', { after: this.#after })
      if (row !== undefined) await this.#scrub(row, signal)
      // What was cut short is not scrubbed.
      if (isAborted(signal)) return false
      this.#after = row?.id
      if (row === undefined || count % blocksPerMark === 0) await this.#store.setScrubbed(row?.id)
      if (row === undefined) return true
      this.#blocks += 1
      this.#bytes += row.length
    }
    return false
  }

  async #scrub(row: BlockRow, signal: AbortSignal): Promise<void> {
    let reader
    try {
      reader = await this.#store.read(row.id)
    } catch (error) {
      const { code, message } = FsError.from(error)
      // Removed meanwhile; or one that cannot be opened, which read has noted if it is a fault of this block.
      if (code === 'ENOENT' || signal.aborted) return
      this.#log.debug('a block is not scrubbed', { block: row.id, error: message })
      await this.#pace(row.length)
      return
    }
    try {
      try {
        const pace = (bytes: number): Promise<void> => this.#pace(bytes)
        // A second look tells rot on the disk from a bit lost on the way.
        const right = (await this.#store.verify(reader, pace)) || (await this.#store.verify(reader, pace))
        if (!right) this.#store.noteDamage(reader.row, 'its bytes do not match their checksums')
      } finally {
        await reader.close()
      }
    } catch (error) {
      const { code, message } = FsError.from(error)
      if (signal.aborted) return
      // Anything but EIO (too many files, say) is no fault of the block.
      if (code === 'EIO') this.#store.noteDamage(row, message)
      else this.#log.debug('a block is not scrubbed', { block: row.id, error: message })
    }
  }

  async #pace(bytes: number): Promise<void> {
    const reading = this.#env.clock.now() - this.#awakeMs
    await this.#sleep(Math.max((bytes / this.#bytesPerSecond) * second, reading * (1 / busyPart - 1)))
    this.#awakeMs = this.#env.clock.now()
  }

  async #sleep(ms: number): Promise<void> {
    const { signal } = this.#again
    await this.#env.timers.sleep(ms, signal).catch((error: unknown) => {
      if (!signal.aborted) throw error
    })
  }
}

/** Asked again after each wait. */
const isAborted = ({ aborted }: AbortSignal): boolean => aborted
