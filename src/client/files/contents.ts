import { type Attr, S_ISGID, S_ISUID, S_IXGRP } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import { fileBytesMax } from '../../core/limits.ts'
import type { ReadBytes } from '../../core/read-bytes.ts'
import { attrFromWire } from '../../wire/attr.ts'
import { u64 } from '../../wire/validate.ts'
import type { Inode } from '../cache/inode.ts'
import type { FileData } from '../ports.ts'
import type { AccessTimes } from './access-times.ts'
import type { Attributes } from './attributes.ts'
import { chain, type FilesContext, mustBeWritable } from './context.ts'
import type { OpenFile } from './handles.ts'

export interface WriteHow {
  /** From the page cache. */
  readonly fromCache: boolean
  readonly append: boolean
  readonly sync: boolean
  readonly killSuidgid: boolean
}

export interface CopyHow {
  readonly killSuidgid: boolean
  readonly signal: AbortSignal
}

/** What a write takes from an executable: setgid means something else where the group may not execute. */
const hasPrivileges = (mode: number): boolean =>
  (mode & S_ISUID) !== 0 || (mode & (S_ISGID | S_IXGRP)) === (S_ISGID | S_IXGRP)

/** Ranges are copied in steps of at most this, so that an interrupted copy ends soon. */
const copyStepBytes = 2 ** 40

/** What is in open files. Changes of one file happen one after the other, of different files at once. */
export class Contents {
  readonly #context: FilesContext
  readonly #attributes: Attributes
  readonly #atimes: AccessTimes

  constructor(context: FilesContext, attributes: Attributes, atimes: AccessTimes) {
    this.#context = context
    this.#attributes = attributes
    this.#atimes = atimes
  }

  async read(file: OpenFile, offset: number, size: number): Promise<ReadBytes> {
    const { node } = file
    node.reading += 1
    try {
      // A mapping of a writable handle dirties pages unseen, so what fills its pages needs the write lease.
      if (!file.directIo) {
        const acquired = this.#attributes.acquire(node, node.writers > 0 ? 'write' : 'read')
        if (acquired !== undefined) await acquired
      }
      const data = this.#fresh(node)
      if (!file.how.noAtime && node.attr !== undefined && size > 0)
        this.#atimes.touch(node, this.#attributes.shown(node.attr))
      return await data.read(offset, size)
    } finally {
      node.reading -= 1
      node.served += 1
    }
  }

  /** Returns the number of bytes taken: fewer than given only at the largest size of a file. */
  write(file: OpenFile, offset: number, bytes: Uint8Array, how: WriteHow): number | Promise<number> {
    mustBeWritable(this.#context.options)
    const { node } = file
    if (how.fromCache && file.incarnation !== this.#context.session.incarnation) this.#refuseLate(node, bytes)
    const taken = node.turns.run(() =>
      chain(this.#attributes.committed(node.ino), attr => this.#write(file, attr, offset, bytes, how)),
    )
    // Asked when the bytes are taken: the lease may have gone while they waited for space or their turn.
    return chain(taken, count => {
      if (!this.#writesThrough(file, how)) return count
      const contents = this.#context.data.file(node.ino)
      if (how.fromCache && !file.how.sync) {
        // The kernel has the pages locked while it writes them back: nothing is waited for. fsync does.
        contents.flushSoon()
        return count
      }
      return contents.flush().then(() => {
        if (!file.directIo) this.#dropUncovered(node)
        return count
      })
    })
  }

  /**
   * The kernel keeps the pages of what was written through a handle that caches. If no lease covers them,
   * since others want the file, too, nobody would tell us when they become false.
   */
  #dropUncovered(node: Inode): void {
    const { cache, kernel } = this.#context
    if (!cache.trusted(node) && !node.gone) void kernel?.inode(node.ino, true)
  }

  /** SEEK_DATA and SEEK_HOLE. */
  lseek(file: OpenFile, offset: number, whence: 'data' | 'hole'): Promise<number> {
    return this.#fresh(file.node).seek(offset, whence)
  }

  /**
   * Makes sure of space (without `punchHole` or `zeroRange`), or makes a range read as zeros. Unless
   * `keepSize`, the file grows to the end of the range.
   */
  async allocate(
    file: OpenFile,
    offset: number,
    length: number,
    mode: { readonly keepSize: boolean; readonly punchHole: boolean; readonly zeroRange: boolean },
    killSuidgid: boolean,
  ): Promise<void> {
    mustBeWritable(this.#context.options)
    if (offset + length > fileBytesMax) throw new FsError('EFBIG', `${offset} + ${length}`)
    const { node } = file
    const { session, data, cache } = this.#context
    await node.turns.run(async () => {
      const contents = data.file(node.ino)
      // What was written before must not be stored after.
      await contents.flush()
      contents.mtimeSet()
      const value = {
        ino: node.ino,
        offset: BigInt(offset),
        length: BigInt(length),
        grow: !mode.keepSize && !mode.punchHole,
        allocateOnly: !mode.punchHole && !mode.zeroRange,
        killSuidgid,
        time: session.time(),
      }
      const reply = await session.call({ $case: 'punchRange', value }, 'attr')
      cache.noteCommand(attrFromWire(reply.attr))
      if (killSuidgid) cache.dropXattrs(node)
      contents.forgetExtents()
    })
  }

  /**
   * Makes a range of one file share the bytes of another: no data moves. Returns how much was copied,
   * which ends at the source's end.
   */
  async copy(
    from: { readonly file: OpenFile; readonly offset: number },
    to: { readonly file: OpenFile; readonly offset: number },
    length: number,
    how: CopyHow,
  ): Promise<number> {
    mustBeWritable(this.#context.options)
    const source = from.file.node
    const target = to.file.node
    const apart = Math.abs(from.offset - to.offset) >= length
    if (source === target && !apart) throw new FsError('EINVAL', 'The ranges overlap')
    if (to.offset >= fileBytesMax) throw new FsError('EFBIG', `${to.offset}`)
    const room = Math.min(length, fileBytesMax - to.offset)
    await this.#context.data.known(source.ino)?.flush()
    return await target.turns.run(() => this.#copy(source, from.offset, target, to.offset, room, how))
  }

  async #copy(
    source: Inode,
    fromOffset: number,
    target: Inode,
    toOffset: number,
    length: number,
    how: CopyHow,
  ): Promise<number> {
    const { session, data, cache } = this.#context
    const contents = data.file(target.ino)
    await contents.flush()
    contents.mtimeSet()
    let done = 0
    try {
      while (done < length && !(done > 0 && how.signal.aborted)) {
        const value = {
          from: source.ino,
          fromOffset: BigInt(fromOffset + done),
          to: target.ino,
          toOffset: BigInt(toOffset + done),
          length: BigInt(Math.min(copyStepBytes, length - done)),
          killSuidgid: how.killSuidgid,
          time: session.time(),
        }
        const reply = await session.call({ $case: 'cloneRange', value }, 'clone')
        cache.noteCommand(attrFromWire(reply.attr))
        const bytes = u64(reply.bytes, 'clone.bytes', length - done)
        if (bytes === 0) break
        done += bytes
      }
    } catch (thrown) {
      if (done === 0) throw thrown
    } finally {
      contents.forgetExtents()
      if (how.killSuidgid) cache.dropXattrs(target)
    }
    return done
  }

  #write(
    file: OpenFile,
    committed: Attr,
    offset: number,
    bytes: Uint8Array,
    how: WriteHow,
  ): number | Promise<number> {
    const { node } = file
    const attr = this.#attributes.shown(committed)
    // The kernel's offset for an append comes from a size that it has cached.
    const at = how.append && !how.fromCache ? attr.size : offset
    if (at >= fileBytesMax && bytes.length > 0) throw new FsError('EFBIG', `inode ${node.ino}: offset ${at}`)
    const part = at + bytes.length > fileBytesMax ? bytes.subarray(0, fileBytesMax - at) : bytes
    const accept = () => chain(this.#context.data.file(node.ino).write(at, part), () => part.length)
    if (!how.killSuidgid || !hasPrivileges(attr.mode)) return accept()
    return this.#attributes.killSuidgid(node).then(accept)
  }

  #writesThrough(file: OpenFile, how: WriteHow): boolean {
    if (how.sync || file.how.sync || file.directIo) return true
    return file.node.lease !== 'write' && !file.node.gone
  }

  /** Without a lease nothing that is known of the file's extents may be used. */
  #fresh(node: Inode): FileData {
    const { cache, data } = this.#context
    const contents = data.file(node.ino)
    if (!cache.trusted(node) && !node.gone) contents.forgetExtents()
    return contents
  }

  /** Pages of a mapping that belong to a session that died: their file may be another's by now. */
  #refuseLate(node: Inode, bytes: Uint8Array): never {
    this.#context.env.log.error('Refused what was mapped under a session that died', {
      ino: node.ino,
      bytes: bytes.length,
    })
    throw new FsError('EIO', `inode ${node.ino}: written under a session that died`)
  }
}
