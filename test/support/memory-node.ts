import { type Attr, S_IFMT, isDirectory } from '#src/core/attr.ts'
import { FsError } from '#src/core/errors.ts'
import type { Ino } from '#src/core/ids.ts'
import type { Name } from '#src/core/name.ts'
import { MemoryLocks } from './memory-locks.ts'

/** Bytes are kept in pages; an absent one is a hole. */
export const pageBytes = 4096

export interface Child {
  readonly node: MemoryNode
  readonly cookie: bigint
}

export class MemoryNode {
  readonly ino: Ino
  mode: number
  uid: number
  gid: number
  rdev = 0
  nlink: number
  size = 0
  target = '' as Name
  atime: bigint
  mtime: bigint
  ctime: bigint
  readonly btime: bigint
  readonly pages = new Map<number, Buffer>()
  readonly children = new Map<Name, Child>()
  readonly xattrs = new Map<Name, Buffer>()
  readonly posixLocks = new MemoryLocks()
  readonly flocks = new MemoryLocks()
  parent: MemoryNode | undefined
  lookups = 0
  opens = 0

  constructor(ino: Ino, mode: number, uid: number, gid: number, now: bigint) {
    this.ino = ino
    this.mode = mode
    this.uid = uid
    this.gid = gid
    this.nlink = isDirectory(mode) ? 2 : 1
    this.atime = this.mtime = this.ctime = this.btime = now
  }

  get type(): number {
    return this.mode & S_IFMT
  }

  attr(): Attr {
    const { ino, mode, nlink, uid, gid, rdev, atime, mtime, ctime, btime } = this
    const size = isDirectory(mode) ? pageBytes : this.target === '' ? this.size : this.target.length
    return {
      ino,
      mode,
      nlink,
      uid,
      gid,
      rdev,
      size,
      allocated: this.pages.size * pageBytes,
      atime,
      mtime,
      ctime,
      btime,
    }
  }

  read(offset: number, size: number): Buffer[] {
    const pieces: Buffer[] = []
    const end = Math.min(offset + size, this.size)
    for (let at = offset; at < end; ) {
      const from = at % pageBytes
      const length = Math.min(pageBytes - from, end - at)
      // Copied, since what read returns must not change when the page does.
      const page = this.pages.get(Math.floor(at / pageBytes))
      pieces.push(page === undefined ? Buffer.alloc(length) : Buffer.from(page.subarray(from, from + length)))
      at += length
    }
    return pieces
  }

  write(offset: number, data: Uint8Array): void {
    for (let done = 0; done < data.length; ) {
      const from = (offset + done) % pageBytes
      const length = Math.min(pageBytes - from, data.length - done)
      this.#page(offset + done).set(data.subarray(done, done + length), from)
      done += length
    }
    this.size = Math.max(this.size, offset + data.length)
  }

  zero(offset: number, length: number): void {
    const end = offset + length
    for (const [index, page] of this.pages) {
      const start = index * pageBytes
      if (start >= end || start + pageBytes <= offset) continue
      if (offset <= start && start + pageBytes <= end) this.pages.delete(index)
      else page.fill(0, Math.max(offset - start, 0), Math.min(end - start, pageBytes))
    }
  }

  allocate(offset: number, length: number): void {
    for (let at = offset; at < offset + length; at += pageBytes) this.#page(at)
    this.#page(offset + length - 1)
  }

  truncate(size: number): void {
    if (size < this.size) this.zero(size, this.size - size)
    this.size = size
  }

  seek(offset: number, whence: 'data' | 'hole'): number {
    if (offset >= this.size) throw new FsError('ENXIO')
    for (let at = offset; at < this.size; at = (Math.floor(at / pageBytes) + 1) * pageBytes) {
      if (this.pages.has(Math.floor(at / pageBytes)) === (whence === 'data')) return at
    }
    if (whence === 'data') throw new FsError('ENXIO')
    return this.size
  }

  #page(offset: number): Buffer {
    const index = Math.floor(offset / pageBytes)
    const page = this.pages.get(index) ?? Buffer.alloc(pageBytes)
    this.pages.set(index, page)
    return page
  }
}
