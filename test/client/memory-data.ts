import type { Attr } from '#src/core/attr.ts'
import { FsError } from '#src/core/errors.ts'
import type { Ino } from '#src/core/ids.ts'
import { keptBytes, type ReadBytes } from '#src/core/read-bytes.ts'
import type { AttrPort, DataPath, FileData, MasterPort } from '#src/client/ports.ts'
import { type Interruptible, interruptible } from '#src/client/waiting.ts'
import { attrFromWire } from '#src/wire/attr.ts'

/** What all mounts of one test have stored: contents by inode. */
export type Contents = Map<Ino, Buffer>

/** A data path without chunkservers: bytes stay in memory, only sizes and times are committed. */
export class MemoryData implements DataPath {
  readonly files = new Map<Ino, MemoryFile>()
  readonly master: MasterPort
  readonly attrs: AttrPort
  readonly stored: Contents
  readonly prefetched: { readonly ino: Ino; readonly size: number }[] = []

  constructor(master: MasterPort, attrs: AttrPort, stored: Contents) {
    this.master = master
    this.attrs = attrs
    this.stored = stored
  }

  file(ino: Ino): MemoryFile {
    let file = this.files.get(ino)
    if (file === undefined) {
      file = new MemoryFile(this, ino)
      this.files.set(ino, file)
    }
    return file
  }

  known(ino: Ino): MemoryFile | undefined {
    return this.files.get(ino)
  }

  prefetch(files: readonly { readonly ino: Ino; readonly size: number }[]): void {
    for (const { ino } of files) this.file(ino)
    this.prefetched.push(...files)
  }

  closed(ino: Ino): void {
    const file = this.files.get(ino)
    if ((file?.dirtyBytes ?? 0) > 0) file?.flushSoon()
  }

  release(ino: Ino): void {
    this.files.delete(ino)
  }

  async flushAll(): Promise<void> {
    await Promise.all([...this.files.values()].map(file => file.flush()))
  }

  writeBackAll(): void {
    for (const file of this.files.values()) file.flushSoon()
  }

  /** Nothing fails here. */
  failed(): Iterable<Ino> {
    return []
  }

  readonly traffic = { fetchedBytes: 0, storedBytes: 0 }

  get dirtyBytes(): number {
    let bytes = 0
    for (const file of this.files.values()) bytes += file.dirtyBytes
    return bytes
  }

  async close(): Promise<void> {
    await this.flushAll()
    this.files.clear()
  }
}

export class MemoryFile implements FileData {
  readonly #data: MemoryData
  readonly #ino: Ino
  /** Accepted and not committed, in order. */
  #dirty: { at: number; bytes: Buffer }[] = []
  #cutOff: { at: number; bytes: Buffer }[] = []
  #mtime: bigint | undefined
  failure: FsError | undefined
  /** Nobody reads before it resolves. */
  coming: Promise<void> | undefined
  /** There is no room for an append before it resolves. */
  room: Promise<void> | undefined
  #error: FsError | undefined

  constructor(data: MemoryData, ino: Ino) {
    this.#data = data
    this.#ino = ino
  }

  get #stored(): Buffer {
    return this.#data.stored.get(this.#ino) ?? Buffer.alloc(0)
  }

  get dirtyBytes(): number {
    return this.#dirty.reduce((sum, { bytes }) => sum + bytes.length, 0)
  }

  get #end(): number {
    return this.#dirty.reduce((end, { at, bytes }) => Math.max(end, at + bytes.length), 0)
  }

  async read(offset: number, size: number, reader?: Interruptible): Promise<ReadBytes> {
    if (this.coming !== undefined) await interruptible(this.coming, reader?.signal)
    const committed = await this.#data.attrs.committed(this.#ino)
    this.#cut(committed.size)
    const attr = this.overlay(committed)
    const end = Math.min(attr.size, offset + size)
    if (end <= offset) return keptBytes([])
    const result = Buffer.alloc(end - offset)
    const put = (at: number, bytes: Buffer) => {
      const from = Math.max(at, offset)
      const to = Math.min(at + bytes.length, end)
      if (from < to) bytes.copy(result, from - offset, from - at, to - at)
    }
    put(0, this.#stored)
    for (const { at, bytes } of this.#dirty) put(at, bytes)
    return keptBytes([result])
  }

  write(offset: number, data: Uint8Array): void {
    if (data.length === 0) return
    this.#dirty.push({ at: offset, bytes: Buffer.from(data) })
    this.#mtime = this.#data.master.time()
  }

  writeIf(offset: number, data: Uint8Array, holds: () => boolean): true | Promise<boolean> {
    const { room } = this
    if (room !== undefined) {
      return room.then(() => {
        this.room = undefined
        return holds() && this.writeIf(offset, data, holds)
      })
    }
    this.write(offset, data)
    return true
  }

  /** The mounts share what is stored: it tells where the file ends. */
  async append(data: Uint8Array): Promise<number> {
    await this.flush()
    const at = this.#stored.length
    this.#data.stored.set(this.#ino, Buffer.concat([this.#stored, data]))
    const { master, attrs } = this.#data
    const range = { ino: this.#ino, offset: BigInt(at), length: BigInt(data.length) }
    const grown = { ...range, grow: true, allocateOnly: false, killSuidgid: false, time: master.time() }
    const reply = await master.call({ $case: 'punchRange', value: grown }, 'attr')
    attrs.noteCommitted(attrFromWire(reply.attr), false)
    return at
  }

  dropClean(): void {
    // Nothing clean is kept.
  }

  async flush(): Promise<void> {
    const dirty = this.#dirty
    if (dirty.length === 0) return
    if (this.failure !== undefined) {
      this.#error = this.failure
      throw this.failure
    }
    const size = this.#end
    const { master, attrs } = this.#data
    const committed = await attrs.committed(this.#ino)
    this.#cut(committed.size)
    const mtime = this.#mtime
    const value = {
      ino: this.#ino,
      extents: [],
      blocks: [],
      size: BigInt(Math.max(size, committed.size)),
      mtime: mtime === undefined ? undefined : { now: false, value: mtime },
      atime: undefined,
      killSuidgid: false,
      append: false,
      pages: false,
      time: master.time(),
    }
    const reply = await master.call({ $case: 'commit', value }, 'commit')
    const bytes = Buffer.alloc(Math.max(size, this.#stored.length))
    this.#stored.copy(bytes)
    for (const write of dirty) write.bytes.copy(bytes, write.at)
    this.#data.stored.set(this.#ino, bytes)
    this.#dirty = this.#dirty.slice(dirty.length)
    attrs.noteCommitted(attrFromWire(reply.attr), reply.early)
  }

  flushSoon(): void {
    void this.flush().catch(() => undefined)
  }

  mtimeSet(): void {
    this.#mtime = undefined
  }

  takeError(): Error | undefined {
    const error = this.#error
    this.#error = undefined
    return error
  }

  async discardFrom(size: number): Promise<void> {
    this.#dirty = this.#dirty
      .filter(({ at }) => at < size)
      .map(({ at, bytes }) => ({ at, bytes: bytes.subarray(0, size - at) }))
  }

  /** What was cut off by a truncation is gone when the size is next seen. */
  #cut(size: number): void {
    const stored = this.#data.stored.get(this.#ino)
    if (stored !== undefined && stored.length > size)
      this.#data.stored.set(this.#ino, stored.subarray(0, size))
  }

  abandon(): void {
    this.#dirty = []
  }

  async cutTo(size: number): Promise<number> {
    const before = this.dirtyBytes
    this.#cutOff = this.#dirty
    await this.discardFrom(size)
    return before - this.dirtyBytes
  }

  cutRefused(): boolean {
    this.#dirty = this.#cutOff
    return true
  }

  cutEnded(): void {
    // What it shows meanwhile is not looked at.
  }

  forgetExtents(): void {
    // Nothing is cached.
  }

  async seek(offset: number): Promise<number> {
    const attr = this.overlay(await this.#data.attrs.committed(this.#ino))
    if (offset >= attr.size) throw new FsError('ENXIO')
    return offset
  }

  overlay(committed: Attr): Attr {
    if (this.#dirty.length === 0) return committed
    const mtime = this.#mtime ?? committed.mtime
    return {
      ...committed,
      size: Math.max(committed.size, this.#end),
      mtime,
      ctime: mtime > committed.ctime ? mtime : committed.ctime,
    }
  }
}
