import { assert } from '../../core/assert.ts'
import { FsError } from '../../core/errors.ts'
import type { AlignedSlots } from './aligned-slots.ts'
import { type DiskWriter, sectorBytes } from './disk.ts'
import { answer, closeFile, datasyncFile, truncateFile, writeAll } from './system-calls.ts'

/**
 * A file that is written past the page cache: what is stored is rarely what is read next, and copies of it in
 * memory cost more than the disk does. What is appended is copied to aligned memory and on its way when
 * `append` resolves; the file's end, if it is no whole sector, is written padded and cut.
 */
export class DirectWriter implements DiskWriter {
  readonly #slots: AlignedSlots
  readonly #openBuffered: () => Promise<number>
  /** Of descriptors for direct I/O, until the file system turns out not to do it. */
  #fd: number
  #direct = true
  /** What does not fill a sector yet. */
  readonly #rest = Buffer.allocUnsafeSlow(sectorBytes)
  #restBytes = 0
  /** Bytes handed to `#write`. */
  #end = 0
  #ended = false
  /** Writes one after the other: those that make a file longer would wait for each other in threads. */
  #tail: Promise<void> = Promise.resolve()
  #failure: FsError | undefined

  /** `openBuffered` opens the same file again, for the page cache. */
  constructor(fd: number, slots: AlignedSlots, openBuffered: () => Promise<number>) {
    this.#fd = fd
    this.#slots = slots
    this.#openBuffered = openBuffered
  }

  async append(data: Uint8Array): Promise<void> {
    assert(!this.#ended, 'append after datasync')
    let from = 0
    while (this.#restBytes + data.length - from >= sectorBytes) {
      if (this.#failure !== undefined) throw this.#failure
      const slot = await this.#slots.take()
      this.#rest.copy(slot.bytes, 0, 0, this.#restBytes)
      const taken = Math.min(slot.bytes.length - this.#restBytes, data.length - from)
      slot.bytes.set(data.subarray(from, from + taken), this.#restBytes)
      const filled = this.#restBytes + taken
      const whole = filled - (filled % sectorBytes)
      from += taken - (filled - whole)
      this.#restBytes = 0
      this.#write(slot.bytes.subarray(0, whole), slot.release)
    }
    this.#rest.set(data.subarray(from), this.#restBytes)
    this.#restBytes += data.length - from
  }

  async datasync(): Promise<void> {
    if (this.#restBytes > 0) {
      const slot = await this.#slots.take()
      const end = this.#end + this.#restBytes
      this.#rest.fill(0, this.#restBytes)
      this.#rest.copy(slot.bytes)
      this.#restBytes = 0
      this.#write(slot.bytes.subarray(0, sectorBytes), slot.release)
      this.#then(() => answer(truncateFile(this.#fd, end)))
    }
    this.#ended = true
    this.#then(() => answer(datasyncFile(this.#fd)))
    await this.#tail
    if (this.#failure !== undefined) throw this.#failure
  }

  async close(): Promise<void> {
    await this.#tail
    await answer(closeFile(this.#fd))
  }

  #write(bytes: Buffer, release: () => void): void {
    const position = this.#end
    this.#end += bytes.length
    this.#then(() => this.#writeAt(bytes, position))
    this.#tail = this.#tail.then(release)
  }

  async #writeAt(bytes: Buffer, position: number): Promise<void> {
    try {
      await writeAll(this.#fd, bytes, position)
    } catch (error) {
      if (!this.#direct || FsError.from(error).code !== 'EINVAL') throw error
      const fd = await this.#openBuffered()
      await answer(closeFile(this.#fd))
      this.#fd = fd
      this.#direct = false
      await writeAll(fd, bytes, position)
    }
  }

  /** Does the next thing, unless one before it failed. `#tail` never rejects. */
  #then(work: () => Promise<void>): void {
    this.#tail = this.#tail.then(async () => {
      if (this.#failure !== undefined) return
      try {
        await work()
      } catch (error) {
        this.#failure = FsError.from(error)
      }
    })
  }
}
