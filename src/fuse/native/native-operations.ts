import { type Attr, isRegular, S_IFMT } from '../../core/attr.ts'
import type { Log } from '../../core/env.ts'
import { errno, FsError, messageOf } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import { nameToBytes, type Name } from '../../core/name.ts'
import { readOpenFlags } from '../codec/open-flags.ts'
import type { Caller, FileSystem, Handle, Opened, OpenFlags } from '../filesystem.ts'
import type { NativeOperations, Signal } from './load-native.ts'
import { nameAsText, nameFromNative, Paths } from './paths.ts'

/** Callers of fuse-native end a call so, with what it brings. */
type Done = (code: number, result?: unknown, more?: unknown) => void

interface OpenFile {
  readonly ino: Ino
  readonly handle: Handle
  readonly append: boolean
  readonly sync: boolean
}

/** open(2)'s flags for what create(2) opened: fuse-native does not tell them. */
const createdFlags: OpenFlags = {
  read: true,
  write: true,
  append: false,
  truncate: false,
  sync: false,
  direct: false,
  noAtime: false,
  killSuidgid: false,
}

/** Numbers of setxattr(2). To create and to replace at once is possible of no attribute. */
const xattrModes = ['set', 'create', 'replace', 'neither'] as const
/** Counts of blocks are 32 bits wide. */
const blocksMax = 2 ** 32 - 1
/** Times before 1970 would arrive as some of the far future. */
const msOf = (time: bigint): number => Math.max(0, Number(time / 1_000_000n))

/**
 * A FileSystem as the operations of fuse-native: by path, without a caller, in numbers of 32 bits. What it cannot
 * carry over is left out here, so that the kernel says ENOSYS or EOPNOTSUPP, and is listed in docs/operations.md:
 * `utimens` (the modification time never arrives), locks, `fallocate`, `copy_file_range`, `lseek`, `rename2`.
 */
export class NativeFileSystem {
  readonly #fs: FileSystem
  readonly #caller: Caller
  readonly #paths: Paths
  readonly #log: Log
  readonly #open = new Map<number, OpenFile>()
  #lastFd = 0

  constructor(fs: FileSystem, caller: Caller, log: Log) {
    this.#fs = fs
    this.#caller = caller
    this.#paths = new Paths(fs, caller)
    this.#log = log
  }

  readonly operations: NativeOperations = {
    getattr: (path: string, done: Done) => this.#run(done, () => this.#getattr(path)),
    fgetattr: (_path: string, fd: number, done: Done) =>
      this.#run(done, async () => {
        const { ino, handle } = this.#file(fd)
        return statOf((await this.#fs.getattr(ino, handle, this.#caller)).attr)
      }),
    statfs: (_path: string, done: Done) => this.#run(done, () => this.#statfs()),
    readdir: (path: string, done: Done) => this.#run(done, () => this.#list(path)),
    readlink: (path: string, done: Done) =>
      this.#run(done, () =>
        this.#paths.at(path, async ({ ino }) => {
          const target = nameAsText(await this.#fs.readlink(ino, this.#caller))
          if (target === undefined) throw new FsError('EINVAL', 'the target is not UTF-8')
          return target
        }),
      ),
    mknod: (path: string, mode: number, rdev: number, done: Done) =>
      this.#run(done, () =>
        this.#make(path, (parent, name) =>
          this.#fs.mknod(parent, name, { mode, umask: 0, rdev }, this.#caller),
        ),
      ),
    mkdir: (path: string, mode: number, done: Done) =>
      this.#run(done, () =>
        this.#make(path, (parent, name) =>
          this.#fs.mkdir(parent, name, { mode: mode & ~S_IFMT, umask: 0, rdev: 0 }, this.#caller),
        ),
      ),
    symlink: (target: string, path: string, done: Done) =>
      this.#run(done, () =>
        this.#make(path, (parent, name) =>
          this.#fs.symlink(parent, name, nameFromNative(target), this.#caller),
        ),
      ),
    link: (from: string, to: string, done: Done) =>
      this.#run(done, () =>
        this.#paths.at(from, ({ ino }) =>
          this.#make(to, (parent, name) => this.#fs.link(ino, parent, name, this.#caller)),
        ),
      ),
    unlink: (path: string, done: Done) =>
      this.#run(done, () =>
        this.#paths.placed(path, ({ parent, name }) => this.#fs.unlink(parent, name, this.#caller)),
      ),
    rmdir: (path: string, done: Done) =>
      this.#run(done, () =>
        this.#paths.placed(path, ({ parent, name }) => this.#fs.rmdir(parent, name, this.#caller)),
      ),
    rename: (from: string, to: string, done: Done) =>
      this.#run(done, () =>
        this.#paths.placed(from, old =>
          this.#paths.placed(to, ({ parent, name }) =>
            this.#fs.rename(old.parent, old.name, parent, name, 'replace', this.#caller),
          ),
        ),
      ),
    chmod: (path: string, mode: number, done: Done) =>
      this.#run(done, () => this.#change(path, { mode: mode & 0o7777 })),
    chown: (path: string, uid: number, gid: number, done: Done) =>
      this.#run(done, () => this.#change(path, { ...ownerOf('uid', uid), ...ownerOf('gid', gid) })),
    truncate: (path: string, size: number, done: Done) => this.#run(done, () => this.#change(path, { size })),
    ftruncate: (_path: string, fd: number, size: number, done: Done) =>
      this.#run(done, async () => {
        const { ino, handle } = this.#file(fd)
        await this.#fs.setattr(ino, { size }, handle, this.#caller)
      }),
    open: (path: string, flags: number, done: Done) =>
      this.#run(done, () =>
        this.#paths.at(path, async ({ ino }) => {
          const how = readOpenFlags(flags, 0, 0)
          return this.#opened(ino, await this.#fs.open(ino, how, this.#caller), how)
        }),
      ),
    create: (path: string, mode: number, done: Done) =>
      this.#run(done, () =>
        this.#paths.placed(path, async ({ parent, name }) => {
          // Whether O_EXCL was asked for is not told: who did must not be given a file of somebody else's.
          const { entry, opened } = await this.#fs.create(
            parent,
            name,
            { mode, umask: 0, rdev: 0 },
            createdFlags,
            true,
            this.#caller,
          )
          const fd = this.#opened(entry.attr.ino, opened, createdFlags)
          this.#fs.forget(entry.attr.ino, 1)
          return fd
        }),
      ),
    read: (_path: string, fd: number, into: Buffer, length: number, offset: number, done: Done) =>
      this.#count(done, async () => {
        const { ino, handle } = this.#file(fd)
        const { pieces, release } = await this.#fs.read(ino, handle, offset, length, true, this.#caller)
        try {
          let at = 0
          for (const piece of pieces) {
            into.set(piece, at)
            at += piece.length
          }
          return at
        } finally {
          release()
        }
      }),
    write: (_path: string, fd: number, from: Buffer, length: number, offset: number, done: Done) =>
      this.#count(done, async () => {
        const { ino, handle, append, sync } = this.#file(fd)
        const flags = { fromCache: false, append, sync, killSuidgid: false }
        return await this.#fs.write(ino, handle, offset, from.subarray(0, length), flags, this.#caller)
      }),
    flush: (_path: string, fd: number, done: Done) =>
      this.#run(done, async () => {
        const { ino, handle } = this.#file(fd)
        await this.#fs.flush(ino, handle, 0n, this.#caller)
      }),
    fsync: (_path: string, dataOnly: number, fd: number, done: Done) =>
      this.#run(done, async () => {
        const { ino, handle } = this.#file(fd)
        await this.#fs.fsync(ino, handle, dataOnly !== 0, this.#caller)
      }),
    fsyncdir: (path: string, dataOnly: number, _fd: number, done: Done) =>
      this.#run(done, () =>
        this.#paths.at(path, async ({ ino }) => {
          const { handle } = await this.#fs.opendir(ino, this.#caller)
          await this.#fs.fsyncdir(ino, handle, dataOnly !== 0, this.#caller)
          await this.#fs.releasedir(ino, handle)
        }),
      ),
    release: (_path: string, fd: number, done: Done) =>
      this.#run(done, async () => {
        const { ino, handle } = this.#file(fd)
        this.#open.delete(fd)
        await this.#fs.release(ino, handle, undefined)
      }),
    setxattr: (path: string, name: string, value: Buffer, _position: number, flags: number, done: Done) =>
      this.#run(done, () =>
        this.#paths.at(path, async ({ ino }) => {
          const mode = xattrModes[flags]
          if (mode === undefined) throw new FsError('EINVAL', `setxattr flags ${flags}`)
          const attribute = nameFromNative(name)
          if (mode === 'neither') {
            const value = await this.#fs.getxattr(ino, attribute, this.#caller)
            throw new FsError(value === undefined ? 'ENODATA' : 'EEXIST')
          }
          await this.#fs.setxattr(ino, attribute, Buffer.from(value), mode, false, this.#caller)
        }),
      ),
    // Answered by the two below, which know how much fits.
    getxattr: (_path: string, _name: string, _position: number, done: Done) => done(-errno.ENODATA),
    listxattr: (_path: string, done: Done) => done(0, []),
    removexattr: (path: string, name: string, done: Done) =>
      this.#run(done, () =>
        this.#paths.at(path, ({ ino }) => this.#fs.removexattr(ino, nameFromNative(name), this.#caller)),
      ),
  }

  getxattr(signal: Signal, path: string, name: string, into: Buffer): void {
    this.#fill(signal, into, () =>
      this.#paths.at(path, async ({ ino }) => {
        const value = await this.#fs.getxattr(ino, nameFromNative(name), this.#caller)
        if (value === undefined) throw new FsError('ENODATA')
        return value
      }),
    )
  }

  listxattr(signal: Signal, path: string, into: Buffer): void {
    this.#fill(signal, into, () =>
      this.#paths.at(path, async ({ ino }) => {
        const names = await this.#fs.listxattr(ino, this.#caller)
        return Buffer.concat(names.flatMap(name => [nameToBytes(name), Buffer.of(0)]))
      }),
    )
  }

  /** A buffer of no length asks how long it should be. */
  #fill(signal: Signal, into: Buffer, work: () => Promise<Uint8Array>): void {
    work()
      .then(bytes => {
        if (into.length > 0 && bytes.length > into.length) throw new FsError('ERANGE')
        if (into.length > 0) into.set(bytes)
        signal(bytes.length, into.buffer)
      })
      .catch((thrown: unknown) => signal(this.#codeOf(thrown), into.buffer))
  }

  async #getattr(path: string): Promise<object> {
    return this.#paths.at(path, async ({ ino, attr }) =>
      statOf(attr ?? (await this.#fs.getattr(ino, undefined, this.#caller)).attr),
    )
  }

  async #change(path: string, change: Parameters<FileSystem['setattr']>[1]): Promise<void> {
    await this.#paths.at(path, ({ ino }) => this.#fs.setattr(ino, change, undefined, this.#caller))
  }

  async #make(
    path: string,
    make: (parent: Ino, name: Name) => ReturnType<FileSystem['mknod']>,
  ): Promise<void> {
    await this.#paths.placed(path, async ({ parent, name }) => {
      const { attr } = await make(parent, name)
      this.#fs.forget(attr.ino, 1)
    })
  }

  /** All names of a directory: libfuse asks for them in one go. */
  #list(path: string): Promise<string[]> {
    return this.#paths.at(path, async ({ ino }) => {
      const { handle } = await this.#fs.opendir(ino, this.#caller)
      try {
        const names: string[] = []
        for (let cookie = 0n, more = true; more; ) {
          more = false
          await this.#fs.readdir(
            ino,
            handle,
            cookie,
            false,
            dirent => {
              more = true
              cookie = dirent.cookie
              // What cannot be spelled is shown as it would be printed, and cannot be opened.
              names.push(nameAsText(dirent.name) ?? nameToBytes(dirent.name).toString('utf8'))
              return true
            },
            this.#caller,
          )
        }
        return names
      } finally {
        await this.#fs.releasedir(ino, handle)
      }
    })
  }

  async #statfs(): Promise<object> {
    const { totalBytes, availableBytes, files, filesFree } = await this.#fs.statfs(this.#caller)
    let size = 4096
    while (totalBytes / size > blocksMax) size *= 2
    const free = Math.floor(availableBytes / size)
    const counted = (count: number): number => Math.min(blocksMax, count)
    return {
      bsize: size,
      frsize: size,
      blocks: Math.floor(totalBytes / size),
      bfree: free,
      bavail: free,
      files: counted(files + filesFree),
      ffree: counted(filesFree),
      favail: counted(filesFree),
      namemax: 255,
    }
  }

  #opened(ino: Ino, { handle }: Opened, { append, sync }: OpenFlags): number {
    do this.#lastFd = (this.#lastFd % 0x7fff_fffe) + 1
    while (this.#open.has(this.#lastFd))
    this.#open.set(this.#lastFd, { ino, handle, append, sync })
    return this.#lastFd
  }

  #file(fd: number): OpenFile {
    const file = this.#open.get(fd)
    if (file === undefined) throw new FsError('EBADF', `file ${fd} is not open`)
    return file
  }

  #run(done: Done, work: () => Promise<unknown>): void {
    work().then(
      result => done(0, result),
      (thrown: unknown) => done(this.#codeOf(thrown)),
    )
  }

  /** A read or write: how many bytes, or an error. */
  #count(done: Done, work: () => Promise<number>): void {
    work().then(
      bytes => done(bytes),
      (thrown: unknown) => done(this.#codeOf(thrown)),
    )
  }

  #codeOf(thrown: unknown): number {
    if (!(thrown instanceof FsError))
      this.#log.error('operation failed unexpectedly', { why: messageOf(thrown) })
    return -errno[FsError.from(thrown).code]
  }
}

const ownerOf = (which: 'uid' | 'gid', id: number): { uid?: number; gid?: number } =>
  id === 0xffff_ffff ? {} : { [which]: id }

function statOf(attr: Attr): object {
  return {
    // The kernel gets a number of libfuse's in its place.
    ino: Number(attr.ino & 0xffff_ffffn),
    mode: attr.mode,
    nlink: attr.nlink,
    uid: attr.uid,
    gid: attr.gid,
    rdev: attr.rdev,
    size: attr.size,
    blksize: 4096,
    blocks: isRegular(attr.mode) ? Math.ceil(attr.allocated / 512) : 0,
    atime: msOf(attr.atime),
    mtime: msOf(attr.mtime),
    ctime: msOf(attr.ctime),
  }
}
