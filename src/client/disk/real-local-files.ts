import { close, constants, fstat, open, read, readSync, readv } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { alignedMemory } from '../../core/aligned-memory.ts'
import type { Clock } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import { second } from '../../core/units.ts'
import type { LocalFile, LocalFiles, LocalFolder, LocalOffer } from '../blocks/local-files.ts'

const openFile = promisify(open)
const statFile = promisify(fstat)

const reading = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
const direct = constants.O_DIRECT
const proofBytesMax = 64
/** A node names a file of its own making, no other one of this machine. */
const proofFiles = /^tmp\/proof-\d+$/

/** Files of this machine, read past the page cache where the file system can do that: each has a cache of its own. */
export class RealLocalFiles implements LocalFiles {
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  memory(bytes: number): ArrayBuffer {
    return alignedMemory(bytes)
  }

  async open({ folder, proofFile, proof }: LocalOffer): Promise<LocalFolder | undefined> {
    if (!folder.startsWith('/') || !proofFiles.test(proofFile) || proof.length === 0) return undefined
    try {
      return (await holds(join(folder, proofFile), proof))
        ? new RealFolder(folder, new Pace(this.#clock))
        : undefined
    } catch (error) {
      const { code } = FsError.from(error)
      if (notThere.has(code)) return undefined
      throw FsError.from(error)
    }
  }
}

const notThere: ReadonlySet<FsError['code']> = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'ELOOP'])

async function holds(path: string, proof: Uint8Array): Promise<boolean> {
  const fd = await openFile(path, reading)
  try {
    const found = Buffer.alloc(proofBytesMax)
    const isFile = (await statFile(fd)).isFile()
    return isFile && found.subarray(0, await readInto(fd, [found], 0)).equals(proof)
  } finally {
    close(fd)
  }
}

/** How long everything of a mount may wait for one read, on average of the last ones. */
const quickMs = 2
/** What the last one counts in that: one that had bad luck does not slow all of them down. */
const lastShare = 1 / 8
/** For so long nothing waits for a disk that is slower. */
const restMs = 1 * second

/** Whether a disk is quick enough to be waited for. */
class Pace {
  readonly #clock: Clock
  #averageMs = 0
  #slowUntil = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  measured(work: () => number): number | undefined {
    const began = this.#clock.now()
    if (began < this.#slowUntil) return undefined
    try {
      return work()
    } finally {
      const ended = this.#clock.now()
      this.#averageMs += (ended - began - this.#averageMs) * lastShare
      if (this.#averageMs > quickMs) {
        this.#slowUntil = ended + restMs
        this.#averageMs = quickMs / 2
      }
    }
  }
}

class RealFolder implements LocalFolder {
  readonly #folder: string
  readonly #pace: Pace
  /** Until the file system says no. */
  #flags = reading | direct

  constructor(folder: string, pace: Pace) {
    this.#folder = folder
    this.#pace = pace
  }

  async open(path: string): Promise<LocalFile> {
    const at = join(this.#folder, path)
    try {
      return new RealFile(await openFile(at, this.#flags), this.#pace)
    } catch (error) {
      if (this.#flags === reading || FsError.from(error).code !== 'EINVAL') throw FsError.from(error)
      this.#flags = reading
      return this.open(path)
    }
  }
}

class RealFile implements LocalFile {
  readonly #fd: number
  readonly #pace: Pace
  #reads = 0
  #closed = false

  constructor(fd: number, pace: Pace) {
    this.#fd = fd
    this.#pace = pace
  }

  readNow(into: Uint8Array, offset: number): number | undefined {
    if (this.#closed) return undefined
    try {
      return this.#pace.measured(() => readSync(this.#fd, into, 0, into.length, offset))
    } catch (error) {
      throw FsError.from(error)
    }
  }

  async read(into: readonly Uint8Array[], offset: number): Promise<number> {
    if (this.#closed) throw new FsError('EBADF', 'the file is closed')
    this.#reads++
    try {
      return await readInto(this.#fd, into, offset)
    } finally {
      this.#reads--
      this.#closeIfDone()
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#closeIfDone()
  }

  #closeIfDone(): void {
    if (this.#closed && this.#reads === 0) close(this.#fd)
  }
}

/** One system call: whoever gets fewer bytes than the file has asks elsewhere. */
function readInto(fd: number, into: readonly Uint8Array[], offset: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, count: number): void => {
      if (error === null) resolve(count)
      else reject(FsError.from(error))
    }
    const [only] = into
    if (only !== undefined && into.length === 1) read(fd, only, 0, only.length, offset, done)
    else readv(fd, into, offset, done)
  })
}
