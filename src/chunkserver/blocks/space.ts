import { FsError } from '../../core/errors.ts'
import { MiB } from '../../core/units.ts'
import type { Disk } from '../disk/disk.ts'

export interface SpaceOptions {
  /** Most bytes that blocks may take; without it, what the disk has. */
  readonly capacityBytes?: number
  /** Kept free for the index, so that a full disk can still delete; default 1 % of the disk, at least 64 MiB. */
  readonly reserveBytes?: number
}

export interface SpaceStatus {
  readonly totalBytes: number
  readonly usedBytes: number
  /** Why no puts are taken; undefined when they are. */
  readonly refusing: string | undefined
  /** The disk takes no writes: the reason is in `refusing`. */
  readonly failing: boolean
}

/** A put is refused before the disk is full to the last byte: what others write meanwhile must fit too. */
const headroomBytes = 4 * MiB

/**
 * What may still be stored. Decides from figures that are refreshed from time to time and corrected by
 * what was stored since, so that a put waits for no system call.
 */
export class Space {
  readonly #disk: Disk
  readonly #options: SpaceOptions
  #freeBytes = 0
  #diskBytes = 0
  #usedAtRefresh = 0
  #usedBytes: number
  #promisedBytes = 0
  #failure: FsError | undefined

  /** `usedBytes`: what the blocks take now. Call `refresh` before the first put. */
  constructor(disk: Disk, usedBytes: number, options: SpaceOptions) {
    this.#disk = disk
    this.#options = options
    this.#usedBytes = usedBytes
  }

  async refresh(): Promise<void> {
    const { totalBytes, freeBytes } = await this.#disk.space()
    this.#diskBytes = totalBytes
    this.#freeBytes = freeBytes
    this.#usedAtRefresh = this.#usedBytes
  }

  set usedBytes(bytes: number) {
    this.#usedBytes = bytes
  }

  get failure(): FsError | undefined {
    return this.#failure
  }

  /** Puts are refused from now on: the disk answered `error`. Until `recovered`. */
  failed(error: FsError): void {
    if (error.code === 'ENOSPC' || error.code === 'EDQUOT') this.#freeBytes = 0
    else if (error.code === 'EIO' || error.code === 'EROFS') this.#failure ??= error
  }

  recovered(): void {
    this.#failure = undefined
  }

  /** Promises room for a block that is on its way. Throws ENOSPC, or the failure of the disk. */
  promise(bytes: number): void {
    if (this.#failure !== undefined)
      throw new FsError(this.#failure.code, `no puts: ${this.#failure.message}`)
    if (bytes > this.#available())
      throw new FsError('ENOSPC', `no room for ${bytes} bytes: ${this.#fullness()}`)
    this.#promisedBytes += bytes
  }

  /** The block has arrived, and counts as used, or will not. */
  settle(bytes: number): void {
    this.#promisedBytes -= bytes
  }

  status(): SpaceStatus {
    const available = Math.max(0, this.#available())
    const full = available < Math.min(headroomBytes, (this.#options.capacityBytes ?? Infinity) / 16)
    return {
      usedBytes: this.#usedBytes,
      totalBytes: this.#usedBytes + available,
      refusing: this.#failure?.message ?? (full ? this.#fullness() : undefined),
      failing: this.#failure !== undefined,
    }
  }

  #available(): number {
    const { capacityBytes = Infinity } = this.#options
    const free = this.#freeBytes - (this.#usedBytes - this.#usedAtRefresh) - this.#reserve()
    return Math.min(capacityBytes - this.#usedBytes, free) - this.#promisedBytes
  }

  #reserve(): number {
    const { reserveBytes } = this.#options
    return reserveBytes ?? Math.min(Math.max(this.#diskBytes / 100, 64 * MiB), this.#diskBytes / 4)
  }

  #fullness(): string {
    const { capacityBytes } = this.#options
    return `${this.#usedBytes} bytes are used of ${capacityBytes ?? this.#diskBytes}, ${this.#freeBytes} are free on the disk`
  }
}
