import type { LocalFile, LocalFiles, LocalFolder, LocalOffer } from '../../client/blocks/local-files.ts'
import { FsError } from '../../core/errors.ts'
import type { HostEnv } from './host.ts'
import { type DiskPlatter, SimDisk, type SimFile } from './sim-disk.ts'

/** The disk of one node as a mount on its machine reads it. */
export class SimLocalFiles implements LocalFiles {
  readonly #env: HostEnv
  readonly #folder: string
  readonly #platter: DiskPlatter

  constructor(env: HostEnv, folder: string, platter: DiskPlatter) {
    this.#env = env
    this.#folder = folder
    this.#platter = platter
  }

  memory(bytes: number): ArrayBuffer {
    return new ArrayBuffer(bytes)
  }

  async open({ folder, proofFile, proof }: LocalOffer): Promise<LocalFolder | undefined> {
    const disk = new SimDisk(this.#env, this.#platter)
    if (folder !== this.#folder) return undefined
    try {
      const { bytes, release } = await (await disk.open(proofFile)).read(0, 4096)
      const same = Buffer.compare(bytes, proof) === 0
      release()
      return same
        ? {
            open: async path => new SimLocalFile(await disk.open(path), () => this.#platter.prng.chance(0.5)),
          }
        : undefined
    } catch (error) {
      if (FsError.from(error).code === 'ENOENT') return undefined
      throw error
    }
  }
}

class SimLocalFile implements LocalFile {
  readonly #file: SimFile
  readonly #isQuick: () => boolean
  #closed = false

  constructor(file: SimFile, isQuick: () => boolean) {
    this.#file = file
    this.#isQuick = isQuick
  }

  readNow(into: Uint8Array, offset: number): number | undefined {
    return this.#closed || !this.#isQuick() ? undefined : this.#file.readNow(into, offset)
  }

  async read(into: readonly Uint8Array[], offset: number): Promise<number> {
    if (this.#closed) throw new FsError('EBADF', 'the file is closed')
    let count = 0
    for (const part of into) {
      const { bytes, release } = await this.#file.read(offset + count, part.length)
      part.set(bytes)
      count += bytes.length
      release()
      if (bytes.length < part.length) break
    }
    return count
  }

  close(): void {
    this.#closed = true
  }
}
