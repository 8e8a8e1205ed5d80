import { FsError } from '../../core/errors.ts'
import type { Disk, DiskWriter } from '../disk/disk.ts'

/**
 * A file that is being received under a temporary name. A crash leaves the temporary file, which the
 * next opening removes.
 */
export class IncomingFile {
  readonly #disk: Disk
  readonly #path: string
  readonly #left: (path: string) => void
  #placed = false
  #file: DiskWriter | undefined
  /** Ends with the work asked last; rejects with the first error, which fails all that follows. */
  #tail: Promise<void>

  /** `left` hears of a file that could not be removed. */
  constructor(disk: Disk, path: string, left: (path: string) => void) {
    this.#disk = disk
    this.#path = path
    this.#left = left
    this.#tail = this.#create()
    // Whoever waits for the tail hears of it; nobody does when the put is given up.
    this.#tail.catch(() => undefined)
  }

  /** Resolves when the buffer is free. */
  append(data: Uint8Array): Promise<void> {
    return this.#then(file => file.append(data))
  }

  /** The bytes are on stable storage, the name is not. */
  async finish(): Promise<void> {
    await this.#then(file => file.datasync())
    await this.#close()
  }

  /** Gives a finished file its name, which is not on stable storage before its folder is synced. */
  async place(path: string): Promise<void> {
    await this.#disk.rename(this.#path, path)
    this.#placed = true
  }

  /** Removes the file unless it was placed. Never rejects: what remains goes later, at the latest with the next opening. */
  async discard(): Promise<void> {
    await this.#tail.catch(() => undefined)
    if (this.#file !== undefined) await this.#close().catch(() => undefined)
    if (this.#placed) return
    await this.#disk.unlink(this.#path).catch((error: unknown) => {
      if (FsError.from(error).code !== 'ENOENT') this.#left(this.#path)
    })
  }

  async #create(): Promise<void> {
    this.#file = await this.#disk.create(this.#path)
  }

  #then(work: (file: DiskWriter) => Promise<void>): Promise<void> {
    this.#tail = this.#tail.then(() => {
      if (this.#file === undefined) throw new FsError('EIO', `${this.#path} is closed`)
      return work(this.#file)
    })
    this.#tail.catch(() => undefined)
    return this.#tail
  }

  async #close(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.close()
  }
}
