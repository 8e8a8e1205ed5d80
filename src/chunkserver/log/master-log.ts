/**
 * What a node keeps for its master against the loss of that one's disk: bases and records, in a folder beside the
 * blocks. Nothing of it is a block or is told to anybody but who restores.
 *
 * Authoritative: the files. A base counts once it is named by a file `whole-…`, which is written after it is on stable
 * storage. Of the records those count that follow each other without a gap; a torn end is left where it is, and
 * records go on in a new file. When a base and all records up to its `until` are here, everything older goes.
 *
 * Calls come one after the other: the caller sees to it.
 */
import { createHash, type Hash } from 'node:crypto'
import { must } from '../../core/assert.ts'
import type { Checksums } from '../../core/checksum.ts'
import type { Log } from '../../core/env.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import { MiB } from '../../core/units.ts'
import { decodeRecord, type LogRecordView } from '../../wire/log-records.ts'
import type { Space } from '../blocks/space.ts'
import { type Disk, type DiskWriter, lentBytesMax, sectorBytes } from '../disk/disk.ts'
import {
  type BaseFacts,
  decodeFacts,
  encodeFacts,
  type LogFileName,
  logFolder,
  nameOf,
  parseName,
  pathOfLog,
} from './log-files.ts'

export interface MasterLogParts {
  readonly disk: Disk
  readonly checksums: Checksums
  /** Of the disk: what it has no room for is refused. */
  readonly space: Pick<Space, 'promise' | 'settle'>
  /** Hears of what the disk answered to a write. */
  readonly failed: (error: unknown) => FsError
  readonly log: Log
}

export interface KeptBase extends BaseFacts {
  readonly name: string
  readonly incarnation: bigint
  readonly after: bigint
}

export interface KeptSegment {
  readonly name: string
  readonly incarnation: bigint
  readonly first: bigint
  readonly bytes: number
}

/** What there is of an incarnation of the master. */
export interface Joined {
  /** Up to here no record is missing since `base`, or since the incarnation began. */
  readonly last: bigint
  readonly base: KeptBase | undefined
}

/** A file of records is not made longer than this, so that old ones can go. */
const segmentBytes = 4 * MiB

interface Segment {
  readonly incarnation: bigint
  readonly first: bigint
  bytes: number
}

interface IncomingBase {
  readonly after: bigint
  readonly path: string
  readonly writer: DiskWriter
  readonly hash: Hash
  bytes: number
}

export class MasterLog {
  readonly #parts: MasterLogParts
  readonly #bases: KeptBase[] = []
  readonly #segments: Segment[] = []
  /** Of the master that writes now. */
  #incarnation: bigint | undefined
  #last = 0n
  #writer: DiskWriter | undefined
  #incoming: IncomingBase | undefined
  /** Files that nobody needs and that a failing disk would not remove. */
  readonly #stuck = new Set<string>()

  private constructor(parts: MasterLogParts) {
    this.#parts = parts
  }

  /** Reads what is there, and removes what is of no use. */
  static async open(parts: MasterLogParts): Promise<MasterLog> {
    const log = new MasterLog(parts)
    await log.#load()
    return log
  }

  get bases(): readonly KeptBase[] {
    return this.#bases
  }

  get segments(): readonly KeptSegment[] {
    return this.#segments.map(segment => ({ ...segment, name: nameOfSegment(segment) }))
  }

  /** A master begins to write, or goes on. Throws ESTALE for one that is older than what is here. */
  async join(incarnation: bigint): Promise<Joined> {
    await this.leave()
    const newest = [...this.#bases, ...this.#segments].reduce(
      (most, file) => (file.incarnation > most ? file.incarnation : most),
      this.#incarnation ?? 0n,
    )
    if (incarnation < newest)
      throw new FsError('ESTALE', `the log here is of master start ${newest}, this is start ${incarnation}`)
    if (this.#incarnation !== incarnation) {
      this.#last = await this.#findLast(incarnation)
      this.#incarnation = incarnation
    }
    return { last: this.#last, base: this.#newestBase(incarnation) }
  }

  /** The master is gone: what it had not finished is given up. */
  async leave(): Promise<void> {
    await this.#giveUpBase()
    await this.#closeSegment()
  }

  /** Stores records, each of which is the next one; when it resolves they are on stable storage. */
  async append(records: readonly Uint8Array[]): Promise<bigint> {
    const length = records.reduce((sum, { length: bytes }) => sum + bytes, 0)
    this.#parts.space.promise(length)
    try {
      const last = this.#checkedLast(records)
      await this.#write(records, length)
      this.#last = last
    } catch (error) {
      // What is in the file now is not known: it goes on in another one, after what was told to be stored.
      await this.#closeSegment().catch(() => undefined)
      throw error
    } finally {
      this.#parts.space.settle(length)
    }
    await this.#removeOld()
    return this.#last
  }

  async beginBase(after: bigint): Promise<void> {
    await this.#giveUpBase()
    const name = nameOf({ kind: 'base', incarnation: must(this.#incarnation, 'incarnation'), number: after })
    const path = pathOfLog(name)
    if (this.#bases.some(base => base.name === name))
      throw new FsError('EEXIST', `${name} is here, and whole`)
    await this.#closeSegment()
    // What records were missed is in the base.
    if (after > this.#last) this.#last = after
    // One that could not be removed when it was given up.
    await this.#remove(name)
    this.#incoming = {
      after,
      path,
      writer: await this.#written(this.#parts.disk.create(path)),
      hash: createHash('sha256'),
      bytes: 0,
    }
  }

  /** Returns how much has come so far. */
  async appendBase(offset: number, data: Uint8Array): Promise<number> {
    const base = this.#begun()
    if (offset !== base.bytes)
      throw new FsError('EPROTO', `base: bytes from ${offset}, from ${base.bytes} expected`)
    const { space } = this.#parts
    space.promise(data.length)
    try {
      await this.#written(base.writer.append(data))
    } finally {
      space.settle(data.length)
    }
    base.hash.update(data)
    base.bytes += data.length
    return base.bytes
  }

  /** All of the base has come: it is on stable storage, and said to be whole, when this resolves. */
  async endBase(facts: BaseFacts): Promise<number> {
    const { after, bytes, hash, path, writer } = this.#begun()
    const sha256 = hash.digest()
    if (bytes !== facts.bytes || Buffer.compare(sha256, facts.sha256) !== 0)
      throw new FsError('EIO', `base: what arrived, ${bytes} bytes, is not what was sent`)
    await this.#written(writer.datasync())
    await this.#written(writer.close())
    this.#incoming = undefined
    const incarnation = must(this.#incarnation, 'incarnation')
    const base = { ...facts, sha256, incarnation, after, name: path.slice(logFolder.length + 1) }
    try {
      await this.#seal(base)
    } catch (error) {
      // Nobody was told that it is whole, and nobody else knows of its files.
      await this.#removeBase(base)
      throw error
    }
    this.#bases.push(base)
    await this.#removeOld()
    return bytes
  }

  /** Says that a base, which is on stable storage, is whole. */
  async #seal(base: KeptBase): Promise<void> {
    const { disk, checksums } = this.#parts
    await this.#written(disk.syncFolder(logFolder))
    const name = nameOf({ kind: 'whole', incarnation: base.incarnation, number: base.after })
    const seal = await this.#written(disk.create(pathOfLog(name)))
    try {
      await this.#written(seal.append(encodeFacts(checksums, base)))
      await this.#written(seal.datasync())
    } finally {
      await seal.close()
    }
    await this.#written(disk.syncFolder(logFolder))
  }

  /** Other nodes have what is needed. Rejects while something of it cannot be removed. */
  async drop(): Promise<void> {
    await this.leave()
    await this.#removeStuck()
    for (const base of this.#bases.splice(0)) await this.#removeBase(base)
    for (const segment of this.#segments.splice(0)) await this.#remove(nameOfSegment(segment))
    this.#last = 0n
    await this.#written(this.#parts.disk.syncFolder(logFolder))
    if (this.#stuck.size > 0)
      throw new FsError('EIO', `${this.#stuck.size} files of the log cannot be removed`)
  }

  /** Part of a file, from a sector on. ENOENT where it is not, or not any more. */
  async read(name: string, offset: number, length: number): Promise<Uint8Array> {
    if (parseName(name) === undefined) throw new FsError('EINVAL', `${name} is no file of the log`)
    if (offset % sectorBytes !== 0 || length > lentBytesMax)
      throw new FsError('EINVAL', `${length} bytes of ${name} from ${offset} cannot be read at once`)
    const file = await this.#parts.disk.open(pathOfLog(name))
    try {
      const { bytes, release } = await file.read(offset, length)
      const own = new Uint8Array(bytes)
      release()
      return own
    } finally {
      await file.close()
    }
  }

  // ---- what is there

  async #load(): Promise<void> {
    const { disk, checksums, log } = this.#parts
    await disk.makeFolder(logFolder)
    const names = new Map<string, LogFileName>()
    for (const name of await disk.list(logFolder)) {
      const parsed = parseName(name)
      if (parsed === undefined) log.warn('stray file in the log of the master', { file: name })
      else names.set(name, parsed)
    }
    for (const [name, { kind, incarnation, number }] of names) {
      if (kind === 'log') this.#segments.push({ incarnation, first: number, bytes: await this.#size(name) })
      if (kind !== 'base') continue
      const seal = nameOf({ kind: 'whole', incarnation, number })
      const facts = names.has(seal) ? decodeFacts(checksums, await this.#readAll(seal)) : undefined
      if (facts !== undefined && facts.bytes === (await this.#size(name)))
        this.#bases.push({ ...facts, name, incarnation, after: number })
      else {
        if (names.has(seal)) await this.#remove(seal)
        await this.#remove(name)
      }
    }
    this.#bases.sort(byAge)
    this.#segments.sort((one, other) => byNumbers(one.incarnation, other.incarnation, one.first, other.first))
  }

  #newestBase(incarnation: bigint): KeptBase | undefined {
    return this.#bases.filter(base => base.incarnation === incarnation).at(-1)
  }

  /** Reads the records of an incarnation, and has them on stable storage: they will be counted on. */
  async #findLast(incarnation: bigint): Promise<bigint> {
    const { disk, checksums } = this.#parts
    let last = this.#newestBase(incarnation)?.after ?? 0n
    for (const segment of this.#segments) {
      if (segment.incarnation !== incarnation) continue
      const name = nameOfSegment(segment)
      const bytes = await this.#readAll(name)
      for (let at = 0; ; ) {
        const record = decodeRecord(checksums, bytes, at)
        if (record === undefined) break
        if (record.incarnation === incarnation && record.sequence === last + 1n) last = record.sequence
        at += record.length
      }
      const file = await disk.open(pathOfLog(name))
      try {
        await this.#written(file.datasync())
      } finally {
        await file.close()
      }
    }
    await this.#written(disk.syncFolder(logFolder))
    return last
  }

  // ---- writing

  #checkedLast(records: readonly Uint8Array[]): bigint {
    let last = this.#last
    for (const bytes of records) {
      const { incarnation, sequence } = this.#decoded(bytes)
      if (incarnation !== this.#incarnation || sequence !== last + 1n)
        throw new FsError(
          'EPROTO',
          `record ${sequence} of start ${incarnation}: ${last + 1n} of ${this.#incarnation ?? 0n} expected`,
        )
      last = sequence
    }
    return last
  }

  #decoded(bytes: Uint8Array): LogRecordView {
    const record = decodeRecord(this.#parts.checksums, bytes)
    if (record?.length !== bytes.length) throw new FsError('EPROTO', 'a record of the log is not a right one')
    return record
  }

  async #write(records: readonly Uint8Array[], length: number): Promise<void> {
    const writer = this.#writer ?? (await this.#newSegment())
    const segment = must(this.#segments.at(-1), 'segment that is written')
    for (const record of records) await this.#written(writer.append(record))
    await this.#written(writer.datasync())
    segment.bytes += length
    if (segment.bytes >= segmentBytes) await this.#closeSegment()
  }

  async #newSegment(): Promise<DiskWriter> {
    const { disk } = this.#parts
    const incarnation = must(this.#incarnation, 'incarnation')
    const segment = { incarnation, first: this.#last + 1n, bytes: 0 }
    const name = nameOfSegment(segment)
    // One that began here and of which nothing was told to be stored.
    const before = this.#segments.findIndex(other => nameOfSegment(other) === name)
    if (before !== -1) this.#segments.splice(before, 1)
    await this.#remove(name)
    const writer = await this.#written(disk.createLog(pathOfLog(name)))
    this.#writer = writer
    this.#segments.push(segment)
    await this.#written(disk.syncFolder(logFolder))
    return writer
  }

  async #closeSegment(): Promise<void> {
    const writer = this.#writer
    this.#writer = undefined
    await writer?.close()
  }

  #begun(): IncomingBase {
    if (this.#incoming === undefined) throw new FsError('EPROTO', 'base: none was begun')
    return this.#incoming
  }

  async #giveUpBase(): Promise<void> {
    const base = this.#incoming
    if (base === undefined) return
    this.#incoming = undefined
    await base.writer.close()
    await this.#remove(base.path.slice(logFolder.length + 1))
  }

  // ---- what is not needed any more

  /** With a base that can be used with all records up to its `until`, nothing before it is needed. */
  async #removeOld(): Promise<void> {
    const usable = this.#bases.filter(
      ({ incarnation, until }) => incarnation === this.#incarnation && until <= this.#last,
    )
    const base = usable.at(-1)
    if (base === undefined) return
    await this.#removeStuck()
    const old = this.#bases.filter(other => byAge(other, base) < 0)
    const segments = this.#segments.filter((segment, at) => {
      if (segment.incarnation !== base.incarnation) return segment.incarnation < base.incarnation
      const next = this.#segments[at + 1]
      return next?.incarnation === base.incarnation && next.first <= base.after + 1n
    })
    if (old.length + segments.length === 0) return
    for (const other of old) {
      this.#bases.splice(this.#bases.indexOf(other), 1)
      await this.#removeBase(other)
    }
    for (const segment of segments) {
      this.#segments.splice(this.#segments.indexOf(segment), 1)
      await this.#remove(nameOfSegment(segment))
    }
    await this.#written(this.#parts.disk.syncFolder(logFolder))
  }

  async #removeBase({ name }: KeptBase): Promise<void> {
    await this.#remove(`whole${name.slice('base'.length)}`)
    await this.#remove(name)
  }

  async #removeStuck(): Promise<void> {
    for (const name of [...this.#stuck]) await this.#remove(name)
  }

  /** A file that may not be there. */
  async #remove(name: string): Promise<void> {
    try {
      await this.#parts.disk.unlink(pathOfLog(name))
    } catch (error) {
      if (FsError.from(error).code !== 'ENOENT') {
        const known = this.#stuck.has(name)
        this.#stuck.add(name)
        const fields = { file: name, error: messageOf(error) }
        if (!known) this.#parts.log.warn('old file of the log stays for now', fields)
        return
      }
    }
    this.#stuck.delete(name)
  }

  async #size(name: string): Promise<number> {
    const file = await this.#parts.disk.open(pathOfLog(name))
    try {
      return await file.size()
    } finally {
      await file.close()
    }
  }

  async #readAll(name: string): Promise<Uint8Array> {
    const parts: Uint8Array[] = []
    for (let at = 0; ; at += lentBytesMax) {
      const part = await this.read(name, at, lentBytesMax)
      parts.push(part)
      if (part.length < lentBytesMax) return Buffer.concat(parts)
    }
  }

  async #written<T>(change: Promise<T>): Promise<T> {
    try {
      return await change
    } catch (error) {
      throw this.#parts.failed(error)
    }
  }
}

const nameOfSegment = ({ incarnation, first }: { readonly incarnation: bigint; readonly first: bigint }) =>
  nameOf({ kind: 'log', incarnation, number: first })

const byAge = (one: KeptBase, other: KeptBase): number =>
  byNumbers(one.incarnation, other.incarnation, one.after, other.after)

function byNumbers(a: bigint, b: bigint, c: bigint, d: bigint): number {
  if (a !== b) return a < b ? -1 : 1
  return c === d ? 0 : c < d ? -1 : 1
}
