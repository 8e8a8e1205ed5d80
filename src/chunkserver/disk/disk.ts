/**
 * The folder that holds a node's block files, as the store sees it. Paths are relative, with `/`.
 * Nothing survives a power cut that was not synced: a file's bytes by `datasync`, its name (also the
 * absence of one) by `syncFolder`. Every method rejects with FsError (ENOENT, EEXIST, ENOSPC, EIO, EROFS, …).
 */
export interface Disk {
  /** Creates a file for writing; EEXIST if the name is taken. */
  create(path: string): Promise<DiskFile>
  /** Opens a file for reading. */
  open(path: string): Promise<DiskFile>
  /** Replaces `to` if it exists. */
  rename(from: string, to: string): Promise<void>
  unlink(path: string): Promise<void>
  /** Names in a folder, in any order. */
  list(path: string): Promise<string[]>
  /** Creates a folder unless it exists; its parent exists. */
  makeFolder(path: string): Promise<void>
  syncFolder(path: string): Promise<void>
  space(): Promise<DiskSpace>
}

export interface DiskFile {
  /** Writes at the end. The buffer may be reused once this resolves. One append at a time. */
  append(data: Uint8Array): Promise<void>
  /** Reads up to `length` bytes; fewer only at the end of the file. The buffer is the caller's. */
  read(offset: number, length: number): Promise<Buffer>
  size(): Promise<number>
  datasync(): Promise<void>
  close(): Promise<void>
}

export interface DiskSpace {
  readonly totalBytes: number
  /** What an unprivileged process may still write. */
  readonly freeBytes: number
}
