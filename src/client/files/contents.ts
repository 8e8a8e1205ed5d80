import { S_ISGID, S_ISUID, S_IXGRP } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import { fileBytesMax } from '../../core/limits.ts'
import type { ReadBytes } from '../../core/read-bytes.ts'
import { attrFromWire } from '../../wire/attr.ts'
import { u64 } from '../../wire/validate.ts'
import type { Inode } from '../cache/inode.ts'
import type { FileData } from '../ports.ts'
import { type Interruptible, interruptible } from '../waiting.ts'
import type { AccessTimes } from './access-times.ts'
import type { Attributes } from './attributes.ts'
import { chain, type FilesContext, mustBeWritable } from './context.ts'
import type { OpenFile } from './handles.ts'

export interface ReadHow {
  /** The kernel keeps what it is given as pages, for which there must be a lease as long as it does. */
  readonly fills: boolean
  readonly reader?: Interruptible
}

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

/** Where bytes were put, and how many. */
interface Written {
  readonly at: number
  readonly count: number
}

/** What of the bytes lies within the largest file. */
function fitting({ ino }: Inode, at: number, bytes: Uint8Array): Uint8Array {
  if (at >= fileBytesMax && bytes.length > 0) throw new FsError('EFBIG', `inode ${ino}: offset ${at}`)
  return at + bytes.length > fileBytesMax ? bytes.subarray(0, fileBytesMax - at) : bytes
}

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

  read(
    file: OpenFile,
    offset: number,
    size: number,
    { fills, reader }: ReadHow,
  ): ReadBytes | Promise<ReadBytes> {
    if (!fills) return this.#read(file, offset, size, reader)
    const { node } = file
    node.reading += 1
    let found: ReadBytes | Promise<ReadBytes>
    try {
      const acquired = this.#attributes.acquire(node, 'read')
      found =
        acquired === undefined
          ? this.#read(file, offset, size, reader)
          : interruptible(acquired, reader?.signal).then(() => this.#read(file, offset, size, reader))
    } catch (thrown) {
      this.#filled(node)
      throw thrown
    }
    if (found instanceof Promise) return found.finally(() => this.#filled(node))
    this.#filled(node)
    return found
  }

  /** Returns the number of bytes taken: fewer than given only at the largest size of a file. */
  write(file: OpenFile, offset: number, bytes: Uint8Array, how: WriteHow): number | Promise<number> {
    mustBeWritable(this.#context.options)
    const { node } = file
    if (how.fromCache && file.incarnation !== this.#context.session.incarnation) this.#refuseLate(node, bytes)
    const fills = !file.directIo && !how.fromCache
    const { fills: fillsBefore, reading } = node
    if (fills) node.reading += 1
    let written: Written | Promise<Written>
    try {
      written = node.turns.run(() => this.#write(file, offset, bytes, how))
    } catch (thrown) {
      if (fills) this.#filled(node)
      throw thrown
    }
    // Asked when the bytes are taken: the lease may have gone while they waited for space or their turn.
    const answer = chain(written, ({ at, count }) => {
      const through = this.#writesThrough(file, how)
      if (through && how.fromCache && !file.how.sync) {
        // The kernel has the pages locked while it writes them back: nothing is waited for. fsync does.
        this.#context.data.file(node.ino).flushSoon()
        return count
      }
      // Beside the pages that the kernel knows of: it put an append where it believed the end to be, and what
      // others here were reading meanwhile may have become old. Not of what it writes back: that has its pages
      // locked, whatever the handle.
      const program = !how.fromCache
      const misplaced = program && how.append && at !== offset
      const passedBy = program && file.directIo && (reading > 0 || node.fills !== fillsBefore)
      if (!through && !misplaced && !passedBy) return count
      return this.#finish(
        node,
        { through, dropPages: misplaced || passedBy, wait: file.directIo || file.how.append },
        count,
      )
    })
    if (!fills) return answer
    if (!(answer instanceof Promise)) {
      this.#filled(node)
      return answer
    }
    return answer.finally(() => this.#filled(node))
  }

  /**
   * `wait`: until the kernel has dropped its pages. Only with a handle by which it writes past them (also one for appends),
   * else (also one that was told of O_APPEND later) it may have them locked until it is answered.
   */
  async #finish(
    node: Inode,
    {
      through,
      dropPages,
      wait,
    }: { readonly through: boolean; readonly dropPages: boolean; readonly wait: boolean },
    count: number,
  ): Promise<number> {
    const { data, kernel } = this.#context
    if (through) {
      await data.known(node.ino)?.flush()
      await node.settling
      if (!node.gone) this.#attributes.regain(node)
    }
    if (dropPages) {
      const dropped = kernel?.inode(node.ino, true)
      if (wait) await dropped
    }
    return count
  }

  #read(
    file: OpenFile,
    offset: number,
    size: number,
    reader: Interruptible | undefined,
  ): ReadBytes | Promise<ReadBytes> {
    const { node } = file
    const data = this.#fresh(node)
    if (!file.how.noAtime && node.attr !== undefined && size > 0)
      this.#atimes.touch(node, this.#attributes.shown(node.attr))
    return data.read(offset, size, reader)
  }

  /**
   * A request was answered that leaves pages in the kernel. A recall under way has it forget them. If there is
   * neither a recall nor a lease, nobody would tell us when they become false.
   */
  #filled(node: Inode): void {
    node.reading -= 1
    node.served += 1
    node.fills += 1
    const { cache, kernel } = this.#context
    if (!cache.trusted(node) && !node.recalling && !node.gone) void kernel?.inode(node.ino, true)
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

  #write(file: OpenFile, offset: number, bytes: Uint8Array, how: WriteHow): Written | Promise<Written> {
    const { node } = file
    if (!how.killSuidgid) return this.#take(node, offset, bytes, how)
    return chain(this.#attributes.committed(node.ino), ({ mode }) =>
      hasPrivileges(mode)
        ? this.#attributes.killSuidgid(node).then(() => this.#take(node, offset, bytes, how))
        : this.#take(node, offset, bytes, how),
    )
  }

  #take(node: Inode, offset: number, bytes: Uint8Array, how: WriteHow): Written | Promise<Written> {
    if (node.holdBack !== undefined) return node.holdBack.then(() => this.#take(node, offset, bytes, how))
    // The kernel's offset for an append comes from a size that it has cached.
    if (how.append && !how.fromCache)
      return chain(this.#attributes.committed(node.ino), committed => {
        const end = this.#attributes.shown(this.#attributes.latest(committed)).size
        return this.#attributes.isAlone(node.ino)
          ? this.#appendAlone(node, end, bytes, how)
          : this.#append(node, end, bytes)
      })
    return this.#accept(node, offset, bytes, how)
  }

  /** Where it had to wait for room, others may have appended meanwhile: then the end is looked for again. */
  #appendAlone(node: Inode, end: number, bytes: Uint8Array, how: WriteHow): Written | Promise<Written> {
    const part = fitting(node, end, bytes)
    const { cache, data } = this.#context
    const holds = () => {
      const committed = cache.attr(node.ino)
      return (
        committed !== undefined &&
        this.#attributes.isAlone(node.ino) &&
        this.#attributes.shown(committed).size === end
      )
    }
    return chain(data.file(node.ino).writeIf(end, part, holds), held =>
      held ? { at: end, count: part.length } : this.#take(node, end, bytes, how),
    )
  }

  /** Where others may append, too, only the master knows the end. */
  #append(node: Inode, end: number, bytes: Uint8Array): Written | Promise<Written> {
    const part = fitting(node, end, bytes)
    if (part.length === 0) return { at: end, count: 0 }
    const appended = this.#context.data.file(node.ino).append(part)
    return appended.then(at => ({ at, count: part.length }))
  }

  #accept(node: Inode, at: number, bytes: Uint8Array, how: WriteHow): Written | Promise<Written> {
    const part = fitting(node, at, bytes)
    const contents = this.#context.data.file(node.ino)
    if (!this.#attributes.isAlone(node.ino)) contents.dropClean()
    if (how.fromCache) node.laundered = true
    return chain(contents.write(at, part), () => ({ at, count: part.length }))
  }

  #writesThrough(file: OpenFile, how: WriteHow): boolean {
    return how.sync || file.how.sync || !this.#attributes.isAlone(file.node.ino)
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
