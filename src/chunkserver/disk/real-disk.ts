import { constants, mkdir, open as openHandle, readdir, rename, statfs, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { assert } from '../../core/assert.ts'
import { FsError } from '../../core/errors.ts'
import { AlignedSlots } from './aligned-slots.ts'
import { DirectWriter } from './direct-writer.ts'
import {
  type Disk,
  type DiskFile,
  type DiskSpace,
  type DiskWriter,
  given,
  type LentBytes,
  lentBytesMax,
  sectorBytes,
} from './disk.ts'
import { answer, closeFile, datasyncFile, openFile, readAll, statFile, writeAll } from './system-calls.ts'

/** Writes under way, and direct reads that are not released. */
const writeSlots = 8
const readSlots = 16
const direct = constants.O_DIRECT
const creating = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL
const reading = constants.O_RDONLY | constants.O_NOFOLLOW

/**
 * A folder of this machine. All calls run on libuv's pool, never on the thread that answers heartbeats. New
 * files, and those that are read once, go past the page cache where the file system can do that.
 */
export class RealDisk implements Disk {
  readonly #root: string
  readonly #written = new AlignedSlots(writeSlots, lentBytesMax)
  readonly #read = new AlignedSlots(readSlots, lentBytesMax)
  /** Until the file system says no. */
  #direct = true

  constructor(root: string) {
    this.#root = root
  }

  async create(path: string): Promise<DiskWriter> {
    const at = this.#at(path)
    const fd = this.#direct ? await this.#tryDirect(at, creating) : undefined
    if (fd === undefined) return new BufferedWriter(await answer(openFile(at, creating, 0o600)))
    return new DirectWriter(fd, this.#written, () => {
      this.#direct = false
      return answer(openFile(at, constants.O_WRONLY))
    })
  }

  async createLog(path: string): Promise<DiskWriter> {
    return new BufferedWriter(await answer(openFile(this.#at(path), creating, 0o600)))
  }

  async open(path: string, once = false): Promise<DiskFile> {
    const at = this.#at(path)
    const fd = once && this.#direct ? await this.#tryDirect(at, reading) : undefined
    return fd === undefined
      ? new BufferedFile(await answer(openFile(at, reading)))
      : new DirectFile(fd, this.#read, () => answer(openFile(at, reading)))
  }

  rename(from: string, to: string): Promise<void> {
    return answer(rename(this.#at(from), this.#at(to)))
  }

  unlink(path: string): Promise<void> {
    return answer(unlink(this.#at(path)))
  }

  list(path: string): Promise<string[]> {
    return answer(readdir(this.#at(path)))
  }

  async makeFolder(path: string): Promise<boolean> {
    return (await answer(mkdir(this.#at(path), { recursive: true, mode: 0o700 }))) !== undefined
  }

  async syncFolder(path: string): Promise<void> {
    await answer(this.#sync(path))
  }

  async space(): Promise<DiskSpace> {
    const { bsize, blocks, bavail } = await answer(statfs(this.#root))
    return { totalBytes: bsize * blocks, freeBytes: bsize * bavail }
  }

  async #sync(path: string): Promise<void> {
    const folder = await openHandle(this.#at(path), constants.O_RDONLY | constants.O_DIRECTORY)
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
  }

  /** Undefined where the file system has no direct I/O. */
  async #tryDirect(at: string, flags: number): Promise<number | undefined> {
    try {
      return await answer(openFile(at, flags | direct, 0o600))
    } catch (error) {
      if (FsError.from(error).code !== 'EINVAL') throw error
      this.#direct = false
      return undefined
    }
  }

  #at(path: string): string {
    return join(this.#root, path)
  }
}

/** A file written through the page cache. */
class BufferedWriter implements DiskWriter {
  readonly #fd: number
  #end = 0

  constructor(fd: number) {
    this.#fd = fd
  }

  async append(data: Uint8Array): Promise<void> {
    await writeAll(this.#fd, data, this.#end)
    this.#end += data.length
  }

  datasync(): Promise<void> {
    return answer(datasyncFile(this.#fd))
  }

  close(): Promise<void> {
    return answer(closeFile(this.#fd))
  }
}

abstract class OpenedFile implements DiskFile {
  protected readonly fd: number

  constructor(fd: number) {
    this.fd = fd
  }

  abstract read(offset: number, length: number): Promise<LentBytes>

  async size(): Promise<number> {
    return (await answer(statFile(this.fd))).size
  }

  datasync(): Promise<void> {
    return answer(datasyncFile(this.fd))
  }

  close(): Promise<void> {
    return answer(closeFile(this.fd))
  }
}

/** A file read through the page cache. */
class BufferedFile extends OpenedFile {
  async read(offset: number, length: number): Promise<LentBytes> {
    const buffer = Buffer.allocUnsafeSlow(length)
    return given(buffer.subarray(0, await readAll(this.fd, buffer, offset)))
  }
}

/**
 * A file read past the page cache, unless all slots are lent: peers that do not take what was read for them
 * must not keep others waiting.
 */
class DirectFile extends OpenedFile {
  readonly #slots: AlignedSlots
  readonly #openBuffered: () => Promise<number>
  #buffered: Promise<BufferedFile> | undefined

  /** `openBuffered` opens the same file again, for the page cache. */
  constructor(fd: number, slots: AlignedSlots, openBuffered: () => Promise<number>) {
    super(fd)
    this.#slots = slots
    this.#openBuffered = openBuffered
  }

  async read(offset: number, length: number): Promise<LentBytes> {
    assert(offset % sectorBytes === 0 && length <= lentBytesMax, 'what is read begins at a sector')
    const slot = this.#slots.takeFree()
    if (slot === undefined) {
      this.#buffered ??= this.#openBuffered().then(fd => new BufferedFile(fd))
      return (await this.#buffered).read(offset, length)
    }
    try {
      const whole = slot.bytes.subarray(0, Math.ceil(length / sectorBytes) * sectorBytes)
      const count = await readAll(this.fd, whole, offset, sectorBytes)
      return { bytes: whole.subarray(0, Math.min(count, length)), release: slot.release }
    } catch (error) {
      slot.release()
      throw error
    }
  }

  override async close(): Promise<void> {
    await super.close()
    // One that could not be opened has told whoever read.
    const buffered = await this.#buffered?.catch(() => undefined)
    await buffered?.close()
  }
}
