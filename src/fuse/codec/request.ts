import { FsError, type ErrnoName } from '../../core/errors.ts'
import { ino, type Ino, rootIno } from '../../core/ids.ts'
import { nameBytesMax } from '../../core/limits.ts'
import type { Name } from '../../core/name.ts'
import type { Caller } from '../filesystem.ts'
import { inHeaderBytes } from './abi.ts'

/** The part of a request that must be readable before anything can be answered. */
export interface Header {
  readonly opcode: number
  /** Below 2^53: the kernel counts up from 2. */
  readonly unique: number
}

/** Reads two u32 as one number; undefined beyond 2^53, where a double would lose bits. */
function u64At(bytes: Buffer, at: number): number | undefined {
  const high = bytes.readUInt32LE(at + 4)
  return high >= 2 ** 21 ? undefined : high * 2 ** 32 + bytes.readUInt32LE(at)
}

/** Undefined for what is too short or too strange to be answered. */
export function readHeader(bytes: Buffer): Header | undefined {
  if (bytes.length < inHeaderBytes) return undefined
  const unique = u64At(bytes, 8)
  return unique === undefined ? undefined : { opcode: bytes.readUInt32LE(4), unique }
}

/**
 * One message of the kernel, and the caller behind it. Reading beyond its end, or a field of a wrong form,
 * throws FsError. Valid only until the buffer it came in is used again: handlers read all arguments
 * before they wait for anything; the caller's facts stay valid.
 */
export class Request implements Caller {
  readonly opcode: number
  readonly unique: number
  readonly node: Ino
  readonly uid: number
  readonly gid: number
  readonly pid: number
  readonly #bytes: Buffer
  /** What the kernel calls 1. */
  readonly #root: Ino
  /** Where the names begin: behind the operation's structure. */
  #cursor = inHeaderBytes
  #end: number
  #interrupted = false
  #controller: AbortController | undefined

  /** `bytes` is exactly one message, of at least a header's size. */
  constructor(bytes: Buffer, header: Header, root: Ino = rootIno) {
    this.#root = root
    this.opcode = header.opcode
    this.unique = header.unique
    this.node = this.inodeOf(bytes.readBigUInt64LE(16))
    this.uid = bytes.readUInt32LE(24)
    this.gid = bytes.readUInt32LE(28)
    this.pid = bytes.readUInt32LE(32)
    this.#bytes = bytes
    this.#end = bytes.length
  }

  /** Checks the lengths: the message's own, the extensions' and the structure's. EIO if one is wrong. */
  check(structBytes: number): void {
    const extensions = this.#bytes.readUInt16LE(36) * 8
    this.#end = this.#bytes.length - extensions
    this.#cursor = inHeaderBytes + structBytes
    if (this.#bytes.readUInt32LE(0) !== this.#bytes.length || this.#cursor > this.#end) {
      throw new FsError('EIO', `request of ${this.#bytes.length} bytes has a wrong or too small length`)
    }
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#interrupted) this.#controller.abort(new FsError('EINTR'))
    }
    return this.#controller.signal
  }

  get isInterrupted(): boolean {
    return this.#interrupted
  }

  interrupt(): void {
    this.#interrupted = true
    this.#controller?.abort(new FsError('EINTR'))
  }

  /** Bytes behind the header, without extensions. */
  get bodyBytes(): number {
    return this.#end - inHeaderBytes
  }

  /** A field of the operation's structure, at its offset there. */
  u32(at: number): number {
    return this.#bytes.readUInt32LE(inHeaderBytes + at)
  }

  u64(at: number): bigint {
    return this.#bytes.readBigUInt64LE(inHeaderBytes + at)
  }

  i64(at: number): bigint {
    return this.#bytes.readBigInt64LE(inHeaderBytes + at)
  }

  inode(at: number): Ino {
    return this.inodeOf(this.u64(at))
  }

  /** The inode that the kernel calls so. */
  inodeOf(node: bigint): Ino {
    return node === rootIno ? this.#root : ino(node)
  }

  /** A u64 as an exact number, or undefined from 2^53 on. */
  maybeSize(at: number): number | undefined {
    return u64At(this.#bytes, inHeaderBytes + at)
  }

  /** A u64 as an exact number; from 2^53 on the error given. */
  size(at: number, beyond: ErrnoName): number {
    const value = this.maybeSize(at)
    if (value === undefined) throw new FsError(beyond, `offset or size ${this.u64(at)} is beyond 2^53`)
    return value
  }

  /** The next NUL-terminated string, without regard to what is in it. */
  text(): Name {
    const nul = this.#bytes.indexOf(0, this.#cursor)
    if (nul < 0 || nul >= this.#end) throw new FsError('EIO', 'a string of the request has no end')
    const text = this.#bytes.toString('latin1', this.#cursor, nul)
    this.#cursor = nul + 1
    return text as Name
  }

  /** The next string as the name of a directory entry: ENAMETOOLONG, or EINVAL for what no entry is called. */
  name(): Name {
    return entryName(this.text())
  }

  /** The next `length` bytes, a view of the request. */
  data(length: number): Buffer {
    if (length > this.#end - this.#cursor) {
      throw new FsError('EIO', `request holds ${this.#end - this.#cursor} of ${length} bytes of data`)
    }
    const from = this.#cursor
    this.#cursor += length
    return this.#bytes.subarray(from, this.#cursor)
  }
}

/** Throws for what no directory entry is called. */
export function entryName(name: Name): Name {
  if (name.length > nameBytesMax) throw new FsError('ENAMETOOLONG')
  if (name === '' || name === '.' || name === '..' || name.includes('/')) throw new FsError('EINVAL')
  return name
}
