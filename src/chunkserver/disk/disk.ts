/**
 * The folder that holds a node's block files, as the store sees it. Paths are relative, with `/`.
 * Nothing survives a power cut that was not synced: a file's bytes by `datasync`, its name (also the
 * absence of one) by `syncFolder`. Every method rejects with FsError (ENOENT, EEXIST, ENOSPC, EIO, EROFS, …).
 */
export interface Disk {
  /** Creates a file for writing; EEXIST if the name is taken. */
  create(path: string): Promise<DiskWriter>
  /** As `create`, of a file that grows bit by bit: after a `datasync` more may be appended, and synced again. */
  createLog(path: string): Promise<DiskWriter>
  /** Opens a file for reading. `once`: it is not worth to keep its bytes in memory. */
  open(path: string, once?: boolean): Promise<DiskFile>
  /** Replaces `to` if it exists. */
  rename(from: string, to: string): Promise<void>
  unlink(path: string): Promise<void>
  /** Names in a folder, in any order. */
  list(path: string): Promise<string[]>
  /** Creates a folder unless it exists; its parent exists. Whether it created it. */
  makeFolder(path: string): Promise<boolean>
  syncFolder(path: string): Promise<void>
  space(): Promise<DiskSpace>
}

/** A new file, written from its start to its end. */
export interface DiskWriter {
  /**
   * Writes at the end. The buffer may be reused once this resolves; that the bytes could not be written
   * may be told only by the next call. One append at a time, none after `datasync` but of `createLog`.
   */
  append(data: Uint8Array): Promise<void>
  datasync(): Promise<void>
  close(): Promise<void>
}

export interface DiskFile {
  /** Reads up to `length` bytes, at most `lentBytesMax`, from a sector on; fewer only at the end of the file. */
  read(offset: number, length: number): Promise<LentBytes>
  size(): Promise<number>
  datasync(): Promise<void>
  close(): Promise<void>
}

/** Direct I/O asks for memory, offsets and lengths in multiples of a disk's sectors: of at most this. */
export const sectorBytes = 4096

/** Bytes in memory that is scarce: to be released, once, as soon as they are no longer needed. */
export interface LentBytes {
  readonly bytes: Uint8Array
  readonly release: () => void
}

/** As much as is read at once. */
export const lentBytesMax = 1024 * 1024

/** Bytes that nobody wants back. */
export const given = (bytes: Uint8Array): LentBytes => ({ bytes, release: () => undefined })

export interface DiskSpace {
  readonly totalBytes: number
  /** What an unprivileged process may still write. */
  readonly freeBytes: number
}
