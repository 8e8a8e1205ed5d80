import { close, fdatasync, open, read, write } from 'node:fs'
import { constants, mkdir, open as openHandle, readdir, rename, statfs, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { fstat } from 'node:fs'
import { FsError } from '../../core/errors.ts'
import type { Disk, DiskFile, DiskSpace } from './disk.ts'

// Plain descriptors: a FileHandle costs several objects and a registration for collection at each open.
const openFile = promisify(open)
const closeFile = promisify(close)
const datasyncFile = promisify(fdatasync)
const statFile = promisify(fstat)

/** A folder of this machine. All calls run on libuv's pool, never on the thread that answers heartbeats. */
export class RealDisk implements Disk {
  readonly #root: string

  constructor(root: string) {
    this.#root = root
  }

  async create(path: string): Promise<DiskFile> {
    return new RealFile(await answer(openFile(this.#at(path), 'wx+', 0o600)))
  }

  async open(path: string): Promise<DiskFile> {
    return new RealFile(await answer(openFile(this.#at(path), constants.O_RDONLY | constants.O_NOFOLLOW)))
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

  async makeFolder(path: string): Promise<void> {
    await answer(mkdir(this.#at(path), { recursive: true, mode: 0o700 }))
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

  #at(path: string): string {
    return join(this.#root, path)
  }
}

class RealFile implements DiskFile {
  readonly #fd: number
  #end = 0

  constructor(fd: number) {
    this.#fd = fd
  }

  async append(data: Uint8Array): Promise<void> {
    for (let at = 0; at < data.length; ) {
      const written = await answer(writeAt(this.#fd, data, at, this.#end))
      if (written === 0) throw new FsError('EIO', 'Cannot append to a file: nothing was written')
      at += written
      this.#end += written
    }
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafeSlow(length)
    let filled = 0
    while (filled < length) {
      const count = await answer(readAt(this.#fd, buffer, filled, offset + filled))
      if (count === 0) break
      filled += count
    }
    return buffer.subarray(0, filled)
  }

  async size(): Promise<number> {
    return (await answer(statFile(this.#fd))).size
  }

  datasync(): Promise<void> {
    return answer(datasyncFile(this.#fd))
  }

  close(): Promise<void> {
    return answer(closeFile(this.#fd))
  }
}

/** System errors as the one vocabulary of failure, with the system's text, which names call and path. */
async function answer<T>(call: Promise<T>): Promise<T> {
  try {
    return await call
  } catch (error) {
    throw FsError.from(error)
  }
}

function writeAt(fd: number, data: Uint8Array, from: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(fd, data, from, data.length - from, position, (error, count) =>
      error === null ? resolve(count) : reject(error),
    )
  })
}

function readAt(fd: number, buffer: Buffer, from: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    read(fd, buffer, from, buffer.length - from, position, (error, count) =>
      error === null ? resolve(count) : reject(error),
    )
  })
}
