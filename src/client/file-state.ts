import type { Attr } from '../core/attr.ts'
import type { FsError } from '../core/errors.ts'
import type { Ino } from '../core/ids.ts'
import type { ReadBytes } from '../core/read-bytes.ts'
import type { AttrPort, FileData, MasterPort } from './ports.ts'
import type { BlockReader } from './read/block-reader.ts'
import { FileExtents } from './read/file-extents.ts'
import { FileReader } from './read/file-reader.ts'
import type { SmallFile } from './read/small-files.ts'
import { FileWriter } from './write/file-writer.ts'
import type { WriteContext } from './write/write-context.ts'
import type { Interruptible } from './waiting.ts'

/** What files of a mount share. */
export interface FileParts {
  readonly master: MasterPort
  readonly attrs: AttrPort
  readonly blocks: BlockReader
  readonly write: WriteContext<FileWriter>
  /** How far one reader is read ahead of. */
  readonly aheadBytes: number
}

/** The data of one file: its writer, its extents and its reader. */
export class FileState implements FileData {
  readonly writer: FileWriter
  readonly #extents: FileExtents
  readonly #reader: FileReader
  /** Nobody needs it once it is clean. */
  released = false

  constructor(ino: Ino, parts: FileParts) {
    this.#extents = new FileExtents(parts.master, ino)
    this.writer = new FileWriter(ino, parts.write, this.#extents)
    this.#reader = new FileReader(
      ino,
      parts.attrs,
      this.#extents,
      this.writer,
      parts.blocks,
      parts.aheadBytes,
    )
  }

  get dirtyBytes(): number {
    return this.writer.dirtyBytes
  }

  /** Nothing is lost with it but what can be asked again. */
  get isForgettable(): boolean {
    return this.writer.idle && !this.writer.hasError
  }

  flushSoon(): void {
    this.writer.closed()
  }

  read(offset: number, size: number, reader?: Interruptible): ReadBytes | Promise<ReadBytes> {
    return this.#reader.read(offset, size, reader)
  }

  /** What reading it ahead needs. */
  small(ino: Ino, size: number): SmallFile {
    return { ino, size, extents: this.#extents, reader: this.#reader }
  }

  write(offset: number, data: Uint8Array): Promise<void> | void {
    return this.writer.write(offset, data)
  }

  writeIf(offset: number, data: Uint8Array, holds: () => boolean): Promise<boolean> | boolean {
    return this.writer.writeIf(offset, data, holds)
  }

  append(data: Uint8Array): Promise<number> {
    return this.writer.append(data)
  }

  flush(): Promise<void> {
    return this.writer.flush()
  }

  dropClean(): void {
    this.writer.dropClean()
  }

  mtimeSet(): void {
    this.writer.mtimeSet()
  }

  takeError(): Error | undefined {
    return this.writer.takeError()
  }

  discardFrom(size: number): Promise<void> {
    return this.writer.discardFrom(size)
  }

  abandon(why: FsError): void {
    this.writer.abandon(why)
  }

  cutTo(size: number): Promise<number> {
    return this.writer.cutTo(size)
  }

  cutRefused(): boolean {
    return this.writer.cutRefused()
  }

  cutEnded(): void {
    this.writer.cutEnded()
  }

  forgetExtents(): void {
    this.#extents.forget()
    this.writer.dropClean()
  }

  seek(offset: number, whence: 'data' | 'hole'): Promise<number> {
    return this.#reader.seek(offset, whence)
  }

  overlay(committed: Attr): Attr {
    const { writer } = this
    if (writer.dirtyBytes === 0 && writer.sizeOver(0) <= committed.size) return committed
    const mtime = writer.pendingMtime
    let allocated = committed.allocated
    // What is overwritten is counted already; whether it was a hole is not known before the commit.
    for (const { from, to } of writer.dirtyRanges().ranges())
      allocated += Math.max(0, to - Math.max(from, committed.size))
    return {
      ...committed,
      size: writer.sizeOver(committed.size),
      allocated,
      ...(mtime === undefined
        ? undefined
        : { mtime, ctime: mtime > committed.ctime ? mtime : committed.ctime }),
    }
  }
}
