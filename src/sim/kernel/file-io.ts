import { type Attr, isDirectory, S_IFMT } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import { taken } from '../../core/read-bytes.ts'
import type { Opened, OpenFlags } from '../../fuse/filesystem.ts'
import type { Kernel } from './kernel.ts'
import { type KernelInode, type Page, pageBytes } from './kernel-inode.ts'
import type { Names, Place } from './names.ts'

export interface OpenHow {
  readonly read?: boolean
  readonly write?: boolean
  readonly create?: boolean
  readonly exclusive?: boolean
  readonly truncate?: boolean
  readonly append?: boolean
  readonly sync?: boolean
  /** Told of the file that is about to be cut by `truncate`. */
  readonly truncating?: (ino: Ino) => void
}

/** An open file description. */
export interface OpenedFile {
  readonly inode: KernelInode
  readonly opened: Opened
  readonly how: OpenHow
  readonly pid: number
  /** What the name led to first, or what was made, was gone when it was to be opened. */
  readonly again?: boolean
  /** It had a flock at some time: the kernel says so when the last descriptor is closed. */
  locked?: boolean
}

const lockEndMax = (1n << 63n) - 1n

/** A READ covers at most so many pages; all of them are locked meanwhile. */
const readPages = 32

/** System calls on files, by way of the page cache. */
export class FileIo {
  readonly #kernel: Kernel
  readonly #names: Names

  constructor(kernel: Kernel, names: Names) {
    this.#kernel = kernel
    this.#names = names
  }

  async open(path: string, how: OpenHow, pid: number): Promise<OpenedFile> {
    return this.openAt(await this.#names.place(path, pid), how, pid)
  }

  async openAt(place: Place, how: OpenHow, pid: number): Promise<OpenedFile> {
    try {
      return await this.#openAt(place, how, pid)
    } catch (error) {
      if (!(error instanceof FsError) || error.code !== 'ESTALE') throw error
      // As Linux does once: whatever is known of the name is not believed.
      this.#kernel.doubt(place.parent, place.name)
      return { ...(await this.#openAt(place, how, pid)), again: true }
    }
  }

  async #openAt(place: Place, how: OpenHow, pid: number): Promise<OpenedFile> {
    const { name } = place
    const found = how.create === true ? await this.#create(place, how, pid) : undefined
    if (found !== undefined && 'opened' in found) return found
    const inode = found ?? (await this.#names.holdAt(place, pid))
    if (inode === undefined) throw new FsError('ENOENT', name)
    try {
      if (isDirectory(inode.attr.mode)) throw new FsError('EISDIR', name)
      if (how.truncate === true) how.truncating?.(inode.ino)
      const ask = () =>
        this.#kernel.request(`open ${name}`, fs => fs.open(inode.ino, flagsOf(how), this.#kernel.caller(pid)))
      const opened = how.truncate === true ? await this.#truncating(inode, `open ${name}`, ask) : await ask()
      await this.#begin(inode, opened)
      return { inode, opened, how, pid }
    } catch (error) {
      this.#names.letGo(inode)
      throw error
    }
  }

  async close(file: OpenedFile): Promise<void> {
    const { inode, opened, pid } = file
    await this.#writeBack(file)
    let failure: unknown
    try {
      if (opened.noFlush !== true)
        await this.#kernel.request(`flush ${inode.ino}`, fs =>
          fs.flush(inode.ino, opened.handle, BigInt(pid), this.#kernel.caller(pid)),
        )
    } catch (error) {
      failure = error
    }
    // Nobody waits for RELEASE.
    void this.#kernel
      .request(`release ${inode.ino}`, fs =>
        fs.release(inode.ino, opened.handle, file.locked === true ? opened.handle : undefined),
      )
      .finally(() => {
        inode.opens -= 1
        this.#kernel.release(inode)
      })
    if (failure !== undefined) throw failure as Error
  }

  async read(file: OpenedFile, offset: number, length: number): Promise<Buffer> {
    const { inode, opened, pid } = file
    if (opened.directIo === true) {
      return taken(
        await this.#kernel.request(`read ${inode.ino} ${offset}+${length} direct`, fs =>
          fs.read(inode.ino, opened.handle, offset, length, false, this.#kernel.caller(pid)),
        ),
      )
    }
    if (offset + length > inode.size) await this.#kernel.freshAttr(inode, pid)
    const out: Buffer[] = []
    for (let at = offset; at < offset + length && at < inode.size; ) {
      const index = Math.floor(at / pageBytes)
      await this.#fill(file, index, Math.ceil((offset + length) / pageBytes))
      const page = inode.pages.get(index)
      if (page?.uptodate !== true) continue
      const start = at % pageBytes
      const end = Math.min(pageBytes, offset + length - index * pageBytes, inode.size - index * pageBytes)
      if (end <= start) break
      out.push(Buffer.from(page.bytes.subarray(start, end)))
      at = index * pageBytes + end
    }
    inode.attrUntil = 0
    return Buffer.concat(out)
  }

  async write(file: OpenedFile, offset: number, data: Buffer): Promise<void> {
    const { inode, opened, how, pid } = file
    await inode.lock.run('exclusive', `write ${inode.ino} ${offset}+${data.length}`, async () => {
      const at = how.append === true ? inode.size : offset
      const pages = opened.directIo === true ? [] : await this.#takePages(inode, at, data)
      inode.sizeUnstable += 1
      let done = false
      try {
        const flags = {
          fromCache: false,
          append: how.append === true,
          sync: how.sync === true,
          killSuidgid: false,
        }
        const count = await this.#kernel.request(`write ${inode.ino} ${at}+${data.length}`, fs =>
          fs.write(inode.ino, opened.handle, at, data, flags, this.#kernel.caller(pid)),
        )
        if (count !== data.length) throw new FsError('EIO', `wrote ${count} of ${data.length}`)
        done = true
        inode.version = this.#kernel.nextVersion()
        inode.size = Math.max(inode.size, at + count)
        inode.attrUntil = 0
      } finally {
        inode.sizeUnstable -= 1
        for (const { index, page, release } of pages) {
          if (!done) page.uptodate = false
          if (!page.uptodate && !page.dirty) inode.pages.delete(index)
          release()
        }
      }
      if (opened.directIo === true) await this.dropPages(inode, at, at + data.length)
    })
  }

  /** Stores through a shared mapping: the page is made dirty, and written by `fsync` or when it is dropped. */
  async store(file: OpenedFile, offset: number, data: Buffer): Promise<void> {
    const { inode } = file
    for (let at = 0; at < data.length; ) {
      const index = Math.floor((offset + at) / pageBytes)
      const start = (offset + at) % pageBytes
      const count = Math.min(pageBytes - start, data.length - at)
      await this.#fill(file, index, index + 1)
      const page = inode.pages.get(index)
      if (page?.uptodate !== true) continue
      data.copy(page.bytes, start, at, at + count)
      page.dirty = true
      this.#mapped.set(inode, file)
      at += count
    }
  }

  async fsync(file: OpenedFile, dataOnly: boolean): Promise<void> {
    const { inode, opened, pid } = file
    await this.#writeBack(file)
    await inode.lock.run('exclusive', `fsync ${inode.ino}`, () =>
      this.#kernel.request(`fsync ${inode.ino}`, fs =>
        fs.fsync(inode.ino, opened.handle, dataOnly, this.#kernel.caller(pid)),
      ),
    )
  }

  async truncate(file: OpenedFile, size: number): Promise<void> {
    const { inode, opened, pid } = file
    await this.#truncating(inode, `truncate ${inode.ino} ${size}`, async () => {
      const what = `truncate ${inode.ino} ${size}`
      const { attr, attrTtlMs } = await inode.writeBacks.run('exclusive', what, () =>
        this.#kernel.request(what, fs =>
          fs.setattr(inode.ino, { size }, opened.handle, this.#kernel.caller(pid)),
        ),
      )
      this.#kernel.setAttr(inode, attr, attrTtlMs)
      inode.size = attr.size
    })
  }

  async chmod(file: OpenedFile, mode: number): Promise<void> {
    const { inode, opened, pid } = file
    const what = `chmod ${inode.ino}`
    await inode.lock.run('exclusive', what, async () => {
      const { attr, attrTtlMs } = await this.#kernel.request(what, fs =>
        fs.setattr(
          inode.ino,
          { mode: (inode.attr.mode & S_IFMT) | mode },
          opened.handle,
          this.#kernel.caller(pid),
        ),
      )
      this.#kernel.setAttr(inode, attr, attrTtlMs)
    })
  }

  /** Makes a hole. */
  async punch(file: OpenedFile, offset: number, length: number): Promise<void> {
    const { inode, opened, pid } = file
    await inode.lock.run('exclusive', `punch ${inode.ino}`, async () => {
      await this.#writeBack(file)
      const mode = { keepSize: true, punchHole: true, zeroRange: false }
      await this.#kernel.request(`punch ${inode.ino}`, fs =>
        fs.fallocate(inode.ino, opened.handle, offset, length, mode, this.#kernel.caller(pid)),
      )
      await this.dropPages(inode, offset, offset + length)
      inode.version = this.#kernel.nextVersion()
      inode.attrUntil = 0
    })
  }

  /** copy_file_range between two files; how much was copied. */
  async copy(
    from: OpenedFile,
    fromOffset: number,
    to: OpenedFile,
    toOffset: number,
    length: number,
  ): Promise<number> {
    const kernel = this.#kernel
    await this.#writeBack(from)
    return to.inode.lock.run('exclusive', `copy ${from.inode.ino} ${to.inode.ino}`, async () => {
      await this.#writeBack(to)
      to.inode.sizeUnstable += 1
      try {
        const count = await kernel.request(`copy ${from.inode.ino} ${to.inode.ino}`, fs =>
          fs.copyFileRange(
            { ino: from.inode.ino, handle: from.opened.handle, offset: fromOffset },
            { ino: to.inode.ino, handle: to.opened.handle, offset: toOffset },
            length,
            kernel.caller(to.pid),
          ),
        )
        await this.dropPages(to.inode, toOffset, toOffset + count)
        to.inode.version = kernel.nextVersion()
        to.inode.size = Math.max(to.inode.size, toOffset + count)
        to.inode.attrUntil = 0
        return count
      } finally {
        to.inode.sizeUnstable -= 1
      }
    })
  }

  async fstat(file: OpenedFile): Promise<Attr> {
    return this.#kernel.freshAttr(file.inode, file.pid)
  }

  /** flock(2). EAGAIN if it is taken and `wait` is false. */
  async flock(file: OpenedFile, kind: 'read' | 'write' | 'unlock', wait: boolean): Promise<void> {
    const { inode, opened, pid } = file
    file.locked ||= kind !== 'unlock'
    const range = { kind, start: 0n, end: lockEndMax, pid }
    await this.#kernel.request(`flock ${inode.ino} ${kind}`, fs =>
      fs.setlk(inode.ino, opened.handle, opened.handle, range, true, wait, this.#kernel.caller(pid)),
    )
  }

  /** Drops the pages of a range, each after its lock was had and what is dirty written. */
  async dropPages(inode: KernelInode, from: number, to: number): Promise<void> {
    const first = Math.floor(from / pageBytes)
    for (const index of [...inode.pages.keys()].sort((a, b) => a - b)) {
      if (index < first || index * pageBytes >= to) continue
      const page = inode.pages.get(index)
      if (page === undefined) continue
      await page.lock.run('exclusive', `invalidation of inode ${inode.ino}`, async () => {
        if (page.dirty) await this.#launder(inode, index, page)
        if (inode.pages.get(index) === page) inode.pages.delete(index)
      })
    }
  }

  readonly #mapped = new Map<KernelInode, OpenedFile>()

  /** The new file, or what is there, which is kept until it is let go. */
  async #create({ parent, name }: Place, how: OpenHow, pid: number): Promise<OpenedFile | KernelInode> {
    const kernel = this.#kernel
    return parent.lock.run('exclusive', `create ${name}`, async () => {
      const found = await this.#names.lookupLocked(parent, name, pid)
      if (found !== undefined) {
        if (how.exclusive === true) throw new FsError('EEXIST', name)
        found.opens += 1
        return found
      }
      const { version, epoch } = kernel
      const made = { mode: 0o100644, umask: 0o022, rdev: 0 }
      const { entry, opened } = await kernel.request(`create ${name}`, fs =>
        fs.create(parent.ino, name, made, flagsOf(how), how.exclusive === true, kernel.caller(pid)),
      )
      const inode = kernel.instantiate(entry, version)
      inode.opens += 1
      kernel.setDentry(parent, name, inode, entry.nameTtlMs, epoch)
      parent.attrUntil = 0
      await this.#begin(inode, opened)
      return { inode, opened, how, pid }
    })
  }

  /** What the kernel does with its pages when a file was opened. */
  async #begin(inode: KernelInode, { keepCache, directIo }: Opened): Promise<void> {
    if (keepCache !== true && directIo !== true) await this.dropPages(inode, 0, Number.POSITIVE_INFINITY)
  }

  async #truncating<T>(inode: KernelInode, who: string, work: () => Promise<T>): Promise<T> {
    return inode.lock.run('exclusive', who, async () => {
      inode.sizeUnstable += 1
      try {
        const result = await work()
        if (who.startsWith('open')) {
          inode.version = this.#kernel.nextVersion()
          inode.size = 0
          inode.attrUntil = 0
          this.#kernel.truncatePages(inode, 0)
        }
        return result
      } finally {
        inode.sizeUnstable -= 1
      }
    })
  }

  /** Reads what is missing from a page on, up to before `end`, with all of it locked. */
  async #fill(file: OpenedFile, first: number, end: number): Promise<void> {
    const { inode, opened, pid } = file
    const kernel = this.#kernel
    const locked: { page: Page; release: () => void }[] = []
    try {
      const limit = Math.min(end, first + readPages, Math.ceil(inode.size / pageBytes))
      for (let index = first; index < limit; index++) {
        const page = inode.page(index)
        if (page.uptodate) break
        // Beyond the first, a page that somebody has is not waited for.
        if (index > first && !page.lock.free) break
        const release = await page.lock.take('exclusive', `read of inode ${inode.ino}`)
        // Somebody else may have read it meanwhile, or dropped it, and perhaps put another one there.
        const there = inode.pages.get(index)
        if (there !== page || there.uptodate) {
          release()
          break
        }
        locked.push({ page, release })
      }
      if (locked.length === 0) return
      for (const { page } of locked) page.cutAt = pageBytes
      const { version } = kernel
      const offset = first * pageBytes
      const length = locked.length * pageBytes
      const data = taken(
        await kernel.request(`read ${inode.ino} ${offset}+${length}`, fs =>
          fs.read(inode.ino, opened.handle, offset, length, true, kernel.caller(pid)),
        ),
      )
      for (const [at, { page }] of locked.entries()) {
        page.bytes.fill(0)
        page.bytes.set(data.subarray(at * pageBytes, (at + 1) * pageBytes))
        page.bytes.fill(0, page.cutAt)
        page.uptodate = true
      }
      // A short read means the end of the file, unless something newer is known.
      const fileEnd = offset + data.length
      if (data.length < length && inode.size > fileEnd) {
        if (inode.version <= version && inode.sizeUnstable === 0) {
          inode.version = kernel.nextVersion()
          inode.size = fileEnd
        } else inode.madeUpFrom = Math.min(inode.madeUpFrom, fileEnd)
      }
    } finally {
      for (const { release } of locked) release()
    }
  }

  /** Puts what is written into pages, which stay locked until it is answered. */
  async #takePages(
    inode: KernelInode,
    offset: number,
    data: Buffer,
  ): Promise<{ index: number; page: Page; release: () => void }[]> {
    const taken: { index: number; page: Page; release: () => void }[] = []
    for (let at = 0; at < data.length; ) {
      const index = Math.floor((offset + at) / pageBytes)
      const start = (offset + at) % pageBytes
      const count = Math.min(pageBytes - start, data.length - at)
      for (;;) {
        const page = inode.page(index)
        const release = await page.lock.take('exclusive', `write of inode ${inode.ino}`)
        if (inode.pages.get(index) !== page) {
          release()
          continue
        }
        data.copy(page.bytes, start, at, at + count)
        if (count === pageBytes) page.uptodate = true
        taken.push({ index, page, release })
        break
      }
      at += count
    }
    return taken
  }

  async #writeBack(file: OpenedFile): Promise<void> {
    const { inode } = file
    for (const [index, page] of [...inode.pages]) {
      if (!page.dirty) continue
      await page.lock.run('exclusive', `write-back of inode ${inode.ino}`, () =>
        this.#launder(inode, index, page),
      )
    }
  }

  async #launder(inode: KernelInode, index: number, page: Page): Promise<void> {
    const file = this.#mapped.get(inode)
    const offset = index * pageBytes
    const data = Buffer.from(page.bytes.subarray(0, Math.min(pageBytes, inode.size - offset)))
    page.dirty = false
    if (file === undefined || data.length === 0) return
    const flags = { fromCache: true, append: false, sync: false, killSuidgid: false }
    const what = `write-back ${inode.ino} ${offset}+${data.length}`
    await inode.writeBacks.run('shared', what, () =>
      this.#kernel.request(what, fs =>
        fs.write(inode.ino, file.opened.handle, offset, data, flags, this.#kernel.caller(0)),
      ),
    )
  }
}

function flagsOf(how: OpenHow): OpenFlags {
  return {
    read: how.read === true,
    write: how.write === true,
    append: how.append === true,
    truncate: how.truncate === true,
    sync: how.sync === true,
    direct: false,
    noAtime: false,
    killSuidgid: false,
  }
}
