/**
 * Puts a database together again from what chunkservers have of it: the newest base that can be had whole, and the
 * records after it as far as they go, whichever of the nodes has them. Trusts nothing: a base is checked by its SHA-256,
 * a record by its checksum and number, and what comes of it by whoever uses it.
 */
import { createHash } from 'node:crypto'
import type { Checksums } from '../../core/checksum.ts'
import { FsError, messageOf, UsageError } from '../../core/errors.ts'
import { dataMessageBytes } from '../../core/limits.ts'
import type { Network } from '../../core/network.ts'
import { MiB, second } from '../../core/units.ts'
import type { ListLogReply, LogBase, LogSegment } from '../../wire/gen/cairn/v1/log.ts'
import { decodeRecord, type LogRecordView } from '../../wire/log-records.ts'
import { logList, logRead } from '../../wire/services.ts'
import { listOf, text, u63, u64 } from '../../wire/validate.ts'

/** Where the database is put together. */
export interface RebuildTarget {
  /** What was there before is of no use. */
  begin(): void
  write(offset: number, data: Uint8Array): void
  /** The database is so long. */
  end(bytes: number): void
}

export interface Rebuilt {
  readonly cluster: Uint8Array
  /** Of the master whose disk was lost. */
  readonly incarnation: bigint
  /** Cluster time up to which its changes are in, ns. */
  readonly time: bigint
  readonly baseBytes: number
  readonly baseFrom: string
  readonly records: number
  readonly recordBytes: number
  /** What could not be used, and why. */
  readonly remarks: readonly string[]
}

interface Source {
  readonly address: string
  readonly cluster: Uint8Array
  readonly bases: readonly LogBase[]
  readonly segments: readonly LogSegment[]
}

interface Candidate {
  readonly base: LogBase
  readonly sources: Source[]
}

const callMs = 30 * second
const filesMax = 100_000
/** Segments are some MiB; nobody makes one of this size. */
const segmentBytesMax = 64 * MiB

/** Throws UsageError where nothing can be put together. */
export async function rebuild(
  network: Network,
  checksums: Checksums,
  addresses: readonly string[],
  target: RebuildTarget,
): Promise<Rebuilt> {
  const remarks: string[] = []
  const sources = await findSources(network, addresses, remarks)
  for (const { base, sources: having } of candidates(sources)) {
    const from = await fetchBase(network, base, having, target, remarks)
    if (from === undefined) continue
    const replay = new Replay(base, target)
    await replayAll(network, checksums, sources, base, replay, remarks)
    if (!replay.complete)
      remarks.push('Some of the records that belong to the base are missing: it is used as it is, alone')
    return {
      cluster: from.cluster,
      incarnation: base.incarnation,
      baseBytes: u64(base.bytes, 'base.bytes'),
      baseFrom: from.address,
      time: replay.time,
      records: replay.records,
      recordBytes: replay.bytes,
      remarks,
    }
  }
  throw new UsageError(
    [
      `None of these chunkservers has a copy of a master's database: ${addresses.join(', ')}`,
      ...remarks,
    ].join('; '),
  )
}

async function findSources(
  network: Network,
  addresses: readonly string[],
  remarks: string[],
): Promise<Source[]> {
  const sources: Source[] = []
  for (const address of new Set(addresses)) {
    try {
      const list = await network.call(address, logList, {}, { timeoutMs: callMs })
      sources.push(sourceOf(address, list))
    } catch (error) {
      remarks.push(`${address} does not say what it has: ${messageOf(error)}`)
    }
  }
  const [first] = sources
  for (const other of sources)
    if (first !== undefined && Buffer.compare(first.cluster, other.cluster) !== 0)
      throw new UsageError(
        `${first.address} is of cluster ${hex(first.cluster)}, ${other.address} of cluster ${hex(other.cluster)}`,
      )
  return sources
}

function sourceOf(address: string, { cluster, bases, segments }: ListLogReply): Source {
  for (const base of listOf(bases, filesMax, 'bases')) {
    text(base.name, 'base.name', 100)
    u64(base.bytes, 'base.bytes')
    for (const number of [base.incarnation, base.after, base.until]) u63(number, 'base')
  }
  for (const segment of listOf(segments, filesMax, 'segments')) {
    text(segment.name, 'segment.name', 100)
    for (const number of [segment.incarnation, segment.first]) u63(number, 'segment')
  }
  return { address, cluster, bases, segments: [...segments].sort((a, b) => (a.first < b.first ? -1 : 1)) }
}

/** Newest first: of the master that started last, and of that one the base that was begun last. */
function candidates(sources: readonly Source[]): Candidate[] {
  const found = new Map<string, Candidate>()
  for (const source of sources)
    for (const base of source.bases) {
      const key = `${base.incarnation} ${base.after} ${hex(base.sha256)}`
      const same = found.get(key)
      if (same === undefined) found.set(key, { base, sources: [source] })
      else same.sources.push(source)
    }
  return [...found.values()].sort(
    ({ base: one }, { base: other }) =>
      Number(other.incarnation - one.incarnation) || Number(other.after - one.after),
  )
}

/** Returns from whom it came. */
async function fetchBase(
  network: Network,
  base: LogBase,
  sources: readonly Source[],
  target: RebuildTarget,
  remarks: string[],
): Promise<Source | undefined> {
  for (const source of sources) {
    try {
      target.begin()
      const hash = createHash('sha256')
      await readFile(network, source.address, base.name, u64(base.bytes, 'base.bytes'), (at, data) => {
        hash.update(data)
        target.write(at, data)
      })
      if (!hash.digest().equals(base.sha256)) throw new FsError('EIO', 'it is damaged')
      return source
    } catch (error) {
      remarks.push(`${base.name} of ${source.address} cannot be used: ${messageOf(error)}`)
    }
  }
  return undefined
}

/** Goes from node to node for as long as one of them has the next record. */
async function replayAll(
  network: Network,
  checksums: Checksums,
  sources: readonly Source[],
  { incarnation }: LogBase,
  replay: Replay,
  remarks: string[],
): Promise<void> {
  for (let before = -1n; before !== replay.next; ) {
    before = replay.next
    for (const { address, segments } of sources) {
      const own = segments.filter(segment => segment.incarnation === incarnation)
      for (const [at, { name, first, bytes }] of own.entries()) {
        const following = own[at + 1]
        if (first > replay.next || (following !== undefined && following.first <= replay.next)) continue
        try {
          const content = Buffer.alloc(u64(bytes, 'segment.bytes', segmentBytesMax))
          await readFile(network, address, name, content.length, (offset, data) => content.set(data, offset))
          replay.segment(checksums, content, incarnation)
        } catch (error) {
          remarks.push(`${name} of ${address} cannot be read: ${messageOf(error)}`)
        }
      }
    }
  }
}

async function readFile(
  network: Network,
  address: string,
  name: string,
  length: number,
  take: (offset: number, data: Uint8Array) => void,
): Promise<void> {
  for (let at = 0; at < length; at += dataMessageBytes) {
    const wanted = Math.min(dataMessageBytes, length - at)
    const request = { name, offset: BigInt(at), length: wanted }
    const { data } = await network.call(address, logRead, request, { timeoutMs: callMs })
    if (data.length !== wanted) throw new FsError('EIO', `it ends at byte ${at + data.length} of ${length}`)
    take(at, data)
  }
}

/** Writes pages into the base, commit by commit, and none before all are known that the base itself needs. */
class Replay {
  readonly #base: LogBase
  readonly #target: RebuildTarget
  #waiting: LogRecordView[] = []
  #next: bigint
  #time: bigint
  #records = 0
  #bytes = 0
  #written: bigint

  constructor(base: LogBase, target: RebuildTarget) {
    this.#base = base
    this.#target = target
    this.#next = base.after + 1n
    this.#written = base.after
    this.#time = base.time
  }

  /** The record that is wanted. */
  get next(): bigint {
    return this.#next
  }

  get time(): bigint {
    return this.#time
  }

  get records(): number {
    return this.#records
  }

  get bytes(): number {
    return this.#bytes
  }

  /** The base has all that was committed while it was made, or nothing of it. */
  get complete(): boolean {
    return this.#written >= this.#base.until
  }

  segment(checksums: Checksums, bytes: Uint8Array, incarnation: bigint): void {
    for (let at = 0; ; ) {
      const record = decodeRecord(checksums, bytes, at)
      if (record === undefined) return
      if (record.incarnation === incarnation && record.sequence === this.#next) this.#add(record)
      at += record.length
    }
  }

  #add(record: LogRecordView): void {
    this.#next = record.sequence + 1n
    this.#waiting.push(record)
    if (record.databasePages === 0 || record.sequence < this.#base.until) return
    for (const { pages, pageBytes, length } of this.#waiting) {
      for (const { number, data } of pages) this.#target.write((number - 1) * pageBytes, data)
      this.#records++
      this.#bytes += length
    }
    this.#waiting = []
    this.#target.end(record.databasePages * record.pageBytes)
    this.#written = record.sequence
    this.#time = record.time
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
