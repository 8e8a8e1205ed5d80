/**
 * Space for acknowledged writes. The master promises bytes to the session; a write is accepted only
 * against what is left of the promise, so that ENOSPC comes at write(2) and not after close(2).
 *
 * The promise is counted as used up when bytes are accepted, not when they are committed: by then they
 * occupy the space that was promised. So `left` only shrinks until the master is asked again, with the
 * bytes accepted and not yet committed plus a step ahead. Where the master has no room to note where blocks are, nothing
 * more is accepted, whatever was promised; what is accepted finds its room.
 */
import type { Clock, LogFields, Timers } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import { MiB, second } from '../../core/units.ts'
import { u64 } from '../../wire/validate.ts'
import type { MasterPort } from '../ports.ts'

/** Asked for ahead, in bytes of file data. Grows with use, so that an idle mount ties up little. */
const stepBytesMin = 16 * MiB
const stepBytesMax = 256 * MiB

/** Where space is being freed, a write waits so long for it, asking this often. */
const freeingMs = 10 * second
const freeingPauseMs = 250
/** After waiting in vain, writes fail at once for so long. */
const inVainMs = 30 * second

export class SpaceGrant {
  readonly #clock: Clock
  readonly #timers: Timers
  readonly #master: MasterPort
  readonly #outstanding: () => number
  readonly #warn: (message: string, fields: LogFields) => void
  #left = 0
  /** Taken by writes that are not yet counted among the outstanding. */
  #taking = 0
  #stepBytes = stepBytesMin
  #asking: Promise<boolean> | undefined
  #waitsFromMs = 0
  /** The session that the grant belongs to: it ends with it. */
  #session = 0n

  /** `outstanding` tells how many bytes are accepted and not yet committed. */
  constructor(
    clock: Clock,
    timers: Timers,
    master: MasterPort,
    outstanding: () => number,
    warn: (message: string, fields: LogFields) => void,
  ) {
    this.#clock = clock
    this.#timers = timers
    this.#master = master
    this.#outstanding = outstanding
    this.#warn = warn
  }

  /** Uses up `bytes` of the grant, if they are left. Asks ahead in the background. */
  take(bytes: number): boolean {
    if (this.#master.diskFull || this.#left < bytes || this.#session !== this.#master.identity.session)
      return false
    this.#left -= bytes
    this.#taking += bytes
    if (this.#left < this.#stepBytes / 2 && this.#asking === undefined) void this.#askAhead()
    return true
  }

  /** What `taken` was taken for is accepted; `dirtied` bytes of it need space, the others were dirty before. */
  accepted(taken: number, dirtied: number): void {
    this.#taking -= taken
    this.#left += taken - dirtied
  }

  /** Gives back what was taken for bytes that are discarded. */
  giveBack(bytes: number): void {
    this.#left += bytes
  }

  /** What was promised was not there: others use the same disks. The next write asks again. */
  doubt(): void {
    this.#left = Math.min(this.#left, 0)
  }

  /** Waits until `bytes` can be taken. Rejects with ENOSPC, or what the master failed with. */
  async ask(bytes: number): Promise<void> {
    await this.#asking?.catch(() => undefined)
    if (this.#master.diskFull) throw new FsError('ENOSPC', 'The disk of the master is full')
    if (this.#left >= bytes && this.#session === this.#master.identity.session) return
    let freeing = await this.#askMaster(Math.max(bytes, this.#stepBytes), bytes)
    const fromMs = this.#clock.now()
    while (this.#left < bytes && freeing && fromMs >= this.#waitsFromMs) {
      if (this.#clock.now() - fromMs > freeingMs) this.#waitsFromMs = this.#clock.now() + inVainMs
      await this.#timers.sleep(freeingPauseMs)
      freeing = await this.#askMaster(bytes, bytes)
    }
    if (this.#left < bytes) throw new FsError('ENOSPC', `No space for ${bytes} bytes: ${this.#left} granted`)
  }

  async #askAhead(): Promise<void> {
    const step = this.#stepBytes
    this.#stepBytes = Math.min(stepBytesMax, step * 2)
    try {
      await this.#askMaster(step, 0)
    } catch (thrown) {
      // The write that needs the space asks again and hears of it.
      this.#stepBytes = stepBytesMin
      const { code, message } = FsError.from(thrown)
      if (code !== 'ENOSPC') this.#warn('space could not be reserved ahead', { error: message })
    }
  }

  /** Whether more will be free soon. */
  async #askMaster(step: number, need: number): Promise<boolean> {
    while (this.#asking !== undefined) await this.#asking.catch(() => undefined)
    const asking = this.#request(step, need)
    this.#asking = asking
    try {
      return await asking
    } finally {
      this.#asking = undefined
    }
  }

  async #request(step: number, need: number): Promise<boolean> {
    const { copies } = this.#master.facts
    const outstanding = this.#outstanding() + this.#taking
    const before = this.#left
    let freeing = false
    const reserve = async (ahead: number): Promise<number> => {
      const bytes = BigInt((outstanding + ahead) * copies)
      const reply = await this.#master.call({ $case: 'reserveSpace', value: { bytes } }, 'reserveSpace')
      freeing = reply.freeing
      return Math.floor(u64(reply.bytes, 'reserveSpace.bytes') / copies)
    }
    let granted: number
    try {
      granted = await reserve(step)
    } catch (thrown) {
      if (need === 0 || need === step || FsError.from(thrown).code !== 'ENOSPC') throw thrown
      granted = await reserve(need)
    }
    // What was accepted since the request was made is not in `outstanding`, but used up all the same.
    const taken = before - this.#left
    this.#left = granted - outstanding - taken
    this.#session = this.#master.identity.session
    return freeing
  }
}
