/**
 * The files of chunkservers on this machine, as a client sees them. All methods reject with FsError.
 */

/** A node's word on where its files are (LocalStore in blocks.proto). */
export interface LocalOffer {
  readonly folder: string
  readonly proofFile: string
  readonly proof: Uint8Array
}

export interface LocalFiles {
  /** Zeroed memory that files can be read into, and that costs what is touched of it. */
  memory(bytes: number): ArrayBuffer
  /** Undefined if this process sees another folder there, or none, or may not read it. */
  open(offer: LocalOffer): Promise<LocalFolder | undefined>
}

export interface LocalFolder {
  open(path: string): Promise<LocalFile>
}

export interface LocalFile {
  /**
   * Fills the buffer, which is a part of `memory`, at once, as far as the file goes: for one reader who waits for a
   * little, where going to another thread and back would take longer than the disk. Undefined where the disk has
   * lately been slower than that.
   */
  readNow(into: Uint8Array, offset: number): number | undefined
  /** Fills the buffers in turn, all of them parts of `memory`; returns how much there was, fewer only at the file's end. */
  read(into: readonly Uint8Array[], offset: number): Promise<number>
  /** What is being read is read to its end. */
  close(): void
}
