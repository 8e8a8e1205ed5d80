import {
  type Disk,
  type DiskFile,
  type DiskSpace,
  type DiskWriter,
  given,
  type LentBytes,
} from '#src/chunkserver/disk/disk.ts'
import { FsError } from '#src/core/errors.ts'

/** What a disk does to the machine that uses it. */
export interface DiskWeather {
  /** Called before each operation takes effect: to wait, to fail (FsError), or never to resolve again. */
  before(operation: string): Promise<void>
  /** Whether something that was not synced survives a power cut anyway. */
  survives(): boolean
}

interface Inode {
  data: Buffer
  /** How much of it is on stable storage. Files only grow here. */
  synced: number
}

/**
 * A disk in memory that keeps what was synced and, after `powerCut`, only that and what `survives`.
 * Names and bytes are lost independently of each other, as POSIX allows.
 */
export class MemoryDisk implements Disk {
  readonly #weather: DiskWeather
  readonly #folders = new Set<string>(['.'])
  #names = new Map<string, Inode>()
  #stableNames = new Map<string, Inode>()
  totalBytes = 2 ** 40

  constructor(weather: DiskWeather = { before: async () => undefined, survives: () => false }) {
    this.#weather = weather
  }

  /** Everything that was not synced may be gone. Files that were open are not to be used any more. */
  powerCut(): void {
    const names = new Map(this.#stableNames)
    for (const path of new Set([...this.#names.keys(), ...names.keys()])) {
      const current = this.#names.get(path)
      if (current === names.get(path) || !this.#weather.survives()) continue
      if (current === undefined) names.delete(path)
      else names.set(path, current)
    }
    for (const inode of new Set(names.values())) if (!this.#weather.survives()) cut(inode)
    this.#names = names
    this.#stableNames = new Map(names)
  }

  /** Changes stored bytes behind everybody's back. */
  rot(path: string, change: (data: Buffer) => Buffer): void {
    const inode = this.#inode(path)
    inode.data = change(Buffer.from(inode.data))
    inode.synced = inode.data.length
  }

  /** All paths of files, sorted. */
  paths(): string[] {
    return [...this.#names.keys()].sort()
  }

  async create(path: string): Promise<DiskWriter> {
    await this.#weather.before(`create ${path}`)
    this.#checkFolder(path)
    if (this.#names.has(path)) throw new FsError('EEXIST', `create ${path}: it exists`)
    const inode: Inode = { data: Buffer.alloc(0), synced: 0 }
    this.#names.set(path, inode)
    return new MemoryFile(inode, this.#weather, path, bytes => this.#room(bytes))
  }

  createLog(path: string): Promise<DiskWriter> {
    return this.create(path)
  }

  async open(path: string): Promise<DiskFile> {
    await this.#weather.before(`open ${path}`)
    return new MemoryFile(this.#inode(path), this.#weather, path, bytes => this.#room(bytes))
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#weather.before(`rename ${from} ${to}`)
    this.#checkFolder(to)
    this.#names.set(to, this.#inode(from))
    this.#names.delete(from)
  }

  async unlink(path: string): Promise<void> {
    await this.#weather.before(`unlink ${path}`)
    this.#inode(path)
    this.#names.delete(path)
  }

  async list(path: string): Promise<string[]> {
    await this.#weather.before(`list ${path}`)
    if (!this.#folders.has(path)) throw new FsError('ENOENT', `list ${path}: no such folder`)
    return this.paths()
      .filter(name => parent(name) === path)
      .map(name => name.slice(path.length + 1))
  }

  async makeFolder(path: string): Promise<boolean> {
    await this.#weather.before(`mkdir ${path}`)
    const known = this.#folders.size
    this.#folders.add(path)
    return this.#folders.size > known
  }

  async syncFolder(path: string): Promise<void> {
    await this.#weather.before(`sync ${path}`)
    for (const name of [...this.#stableNames.keys()])
      if (parent(name) === path && !this.#names.has(name)) this.#stableNames.delete(name)
    for (const [name, inode] of this.#names) if (parent(name) === path) this.#stableNames.set(name, inode)
  }

  async space(): Promise<DiskSpace> {
    await this.#weather.before('statfs')
    return { totalBytes: this.totalBytes, freeBytes: this.totalBytes - this.#usedBytes() }
  }

  #usedBytes(): number {
    let bytes = 0
    for (const inode of new Set(this.#names.values())) bytes += inode.data.length
    return bytes
  }

  #room(bytes: number): void {
    if (this.#usedBytes() + bytes > this.totalBytes) throw new FsError('ENOSPC', 'write: the disk is full')
  }

  #inode(path: string): Inode {
    const inode = this.#names.get(path)
    if (inode === undefined) throw new FsError('ENOENT', `${path}: no such file`)
    return inode
  }

  #checkFolder(path: string): void {
    if (!this.#folders.has(parent(path))) throw new FsError('ENOENT', `${path}: no such folder`)
  }
}

class MemoryFile implements DiskFile, DiskWriter {
  readonly #inode: Inode
  readonly #weather: DiskWeather
  readonly #path: string
  readonly #room: (bytes: number) => void

  constructor(inode: Inode, weather: DiskWeather, path: string, room: (bytes: number) => void) {
    this.#inode = inode
    this.#weather = weather
    this.#path = path
    this.#room = room
  }

  async append(data: Uint8Array): Promise<void> {
    const copy = Buffer.from(data)
    await this.#weather.before(`append ${this.#path}`)
    this.#room(copy.length)
    this.#inode.data = Buffer.concat([this.#inode.data, copy])
  }

  async read(offset: number, length: number): Promise<LentBytes> {
    await this.#weather.before(`read ${this.#path}`)
    return given(Buffer.from(this.#inode.data.subarray(offset, offset + length)))
  }

  async size(): Promise<number> {
    await this.#weather.before(`stat ${this.#path}`)
    return this.#inode.data.length
  }

  async datasync(): Promise<void> {
    await this.#weather.before(`datasync ${this.#path}`)
    this.#inode.synced = this.#inode.data.length
  }

  async close(): Promise<void> {
    await this.#weather.before(`close ${this.#path}`)
  }
}

/** Bytes that were written but not synced: gone, or never there (zeros), whatever reads worse. */
function cut(inode: Inode): void {
  inode.data = Buffer.concat([
    inode.data.subarray(0, inode.synced),
    Buffer.alloc(Math.floor((inode.data.length - inode.synced) / 2)),
  ])
  inode.synced = inode.data.length
}

const parent = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/'))) || '.'
