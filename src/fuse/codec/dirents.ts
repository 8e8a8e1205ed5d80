import type { Dirent } from '../../core/attr.ts'
import type { Ino } from '../../core/ids.ts'
import type { Entry } from '../filesystem.ts'
import { direntHeadBytes, entryBytes } from './abi.ts'
import { putEntry } from './attr.ts'

/** Records begin at multiples of eight bytes. */
const align = (bytes: number): number => (bytes + 7) & ~7

/** Gathers struct fuse_dirent (or fuse_direntplus) records up to the size that the kernel asked for. */
export class DirentBuffer {
  readonly #bytes: Buffer
  readonly #plus: boolean
  #used = 0
  /** Inodes whose lookup the kernel counts with this listing. */
  readonly counted: Ino[] = []

  constructor(size: number, plus: boolean) {
    this.#bytes = Buffer.allocUnsafe(size)
    this.#plus = plus
  }

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#used)
  }

  /**
   * False: it does not fit, and was not taken. The kernel ignores entries of . and .. without counting a
   * lookup, so theirs are left out.
   */
  readonly add = (dirent: Dirent, entry?: Entry): boolean => {
    const head = this.#plus ? entryBytes : 0
    const unpadded = head + direntHeadBytes + dirent.name.length
    const end = this.#used + align(unpadded)
    if (end > this.#bytes.length) return false
    let at = this.#used
    if (this.#plus) {
      if (entry === undefined || dirent.name === '.' || dirent.name === '..') {
        this.#bytes.fill(0, at, at + entryBytes)
      } else {
        putEntry(this.#bytes, at, entry)
        this.counted.push(entry.attr.ino)
      }
      at += entryBytes
    }
    this.#bytes.writeBigUInt64LE(dirent.ino, at)
    this.#bytes.writeBigUInt64LE(dirent.cookie, at + 8)
    this.#bytes.writeUInt32LE(dirent.name.length, at + 16)
    this.#bytes.writeUInt32LE(dirent.type >>> 12, at + 20)
    this.#bytes.write(dirent.name, at + direntHeadBytes, 'latin1')
    this.#bytes.fill(0, this.#used + unpadded, end)
    this.#used = end
    return true
  }
}
