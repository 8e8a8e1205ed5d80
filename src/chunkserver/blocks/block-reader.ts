import { FsError } from '../../core/errors.ts'
import { type DiskFile, given, type LentBytes } from '../disk/disk.ts'
import type { BlockRow } from './index-protocol.ts'

/** An open block. Its bytes are not verified: the reader on the other side does that. */
export interface BlockReader {
  readonly row: BlockRow
  /**
   * Exactly these bytes, which lie within the block and begin at a piece. Rejects with EIO when they are not
   * there.
   */
  read(offset: number, length: number): Promise<LentBytes>
  close(): Promise<void>
}

export class RowReader implements BlockReader {
  readonly row: BlockRow
  readonly #data: Uint8Array

  constructor(row: BlockRow, data: Uint8Array) {
    this.row = row
    this.#data = data
  }

  async read(offset: number, length: number): Promise<LentBytes> {
    return exactly(given(this.#data.subarray(offset, offset + length)), length, this.row)
  }

  async close(): Promise<void> {
    // Nothing is open.
  }
}

export class FileReader implements BlockReader {
  readonly row: BlockRow
  /** Opened past the page cache. */
  readonly once: boolean
  readonly #file: DiskFile

  constructor(row: BlockRow, file: DiskFile, once: boolean) {
    this.row = row
    this.once = once
    this.#file = file
  }

  async read(offset: number, length: number): Promise<LentBytes> {
    return exactly(await this.#file.read(offset, length), length, this.row)
  }

  close(): Promise<void> {
    return this.#file.close()
  }
}

function exactly(lent: LentBytes, length: number, row: BlockRow): LentBytes {
  if (lent.bytes.length === length) return lent
  lent.release()
  throw new FsError('EIO', `block ${row.id} is shorter than its ${row.length} bytes`)
}
