import type { Database } from 'better-sqlite3'
import { assert, must } from '../../core/assert.ts'
import type { Checksums } from '../../core/checksum.ts'
import { FsError, UsageError, errno, messageOf } from '../../core/errors.ts'
import { type BlockId, blockIdToBytes } from '../../core/ids.ts'
import { MiB } from '../../core/units.ts'
import {
  applicationId,
  BlockTable,
  BucketTable,
  bucketBits,
  ChangeTable,
  formatVersion,
  schema,
  unprovenSchema,
  UnprovenTable,
} from './block-tables.ts'
import {
  type ChangeRow,
  type IndexOp,
  type IndexOps,
  type IndexReply,
  type IndexRequest,
  place,
  readingOps,
  type Totals,
} from './index-protocol.ts'
import { isDamage } from './open-index.ts'
import { StoreTable, storeSchema } from './store-table.ts'
import { storedBytes } from './stored-bytes.ts'

type Handlers = { readonly [Op in IndexOp]: (input: IndexOps[Op]['in']) => IndexOps[Op]['out'] }

/** An index up to this size is checked page by page when it is opened (about 0.1 s). */
const checkedBytesMax = 32 * MiB

/** Of what is asked for and cannot be, on a disk that does as it should. */
const refusal = 'EINVAL'

interface Tables {
  readonly store: StoreTable
  readonly blocks: BlockTable
  readonly changes: ChangeTable
  readonly buckets: BucketTable
  readonly unproven: UnprovenTable
}

/**
 * Applies batches of requests to the index database: the synchronous half, which runs in a Worker of
 * a daemon. A batch with changes is one transaction, answered after its one sync: either all of its
 * changes are on stable storage or none is.
 */
export class IndexEngine {
  readonly #open: () => Database
  readonly #checksums: Checksums
  #index: Database | undefined
  #closed = false
  #tables: Tables | undefined
  /** Most stores have none, whose puts need not look. */
  #hasUnproven = false
  #totals: Totals = { blocks: 0, files: 0, bytes: 0, sequence: 0n }

  /** `open` is called with the first batch, so that its failure is an answer. A reader's comes after the writer's. */
  constructor(open: () => Database, checksums: Checksums) {
    this.#open = open
    this.#checksums = checksums
  }

  apply(batch: readonly IndexRequest[]): IndexReply[] {
    if (batch.every(request => readingOps.has(request.op))) return batch.map(request => this.#answer(request))
    if (batch.some(request => request.op === 'open' || request.op === 'close'))
      return batch.map(request => this.#answer(request))
    return this.#commit(batch)
  }

  /** Closes the handle without a word about a clean end, as a crash would. */
  abandon(): void {
    this.#closed = true
    this.#index?.close()
    this.#index = undefined
  }

  #commit(batch: readonly IndexRequest[]): IndexReply[] {
    const before = this.#totals
    try {
      this.#db.exec('BEGIN IMMEDIATE')
      const replies = batch.map(request => this.#runOrRefuse(request))
      if (this.#totals !== before) this.#use.store.setTotals(this.#totals)
      this.#db.exec('COMMIT')
      return replies
    } catch (error) {
      this.#totals = before
      if (this.#index?.inTransaction === true) this.#index.exec('ROLLBACK')
      const reply = failure(error)
      return batch.map(() => reply)
    }
  }

  /** What is refused before it has changed anything costs the others of the batch nothing. */
  #runOrRefuse(request: IndexRequest): IndexReply {
    try {
      return { ok: true, out: this.#run(request) }
    } catch (error) {
      if (error instanceof FsError && error.code === refusal) return failure(error)
      throw error
    }
  }

  #answer(request: IndexRequest): IndexReply {
    try {
      return { ok: true, out: this.#run(request) }
    } catch (error) {
      return failure(error)
    }
  }

  #run(request: IndexRequest): unknown {
    const handler = this.#handlers[request.op] as (input: unknown) => unknown
    return handler(request.in)
  }

  get #db(): Database {
    if (this.#closed) throw new FsError('EIO', 'the index is closed')
    this.#index ??= this.#open()
    return this.#index
  }

  /** The tables; a reading engine prepares them when it is first asked. */
  get #use(): Tables {
    this.#tables ??= {
      store: new StoreTable(this.#db),
      blocks: new BlockTable(this.#db),
      changes: new ChangeTable(this.#db),
      buckets: new BucketTable(this.#db),
      unproven: new UnprovenTable(this.#db),
    }
    return this.#tables
  }

  readonly #handlers: Handlers = {
    open: ({ store }) => this.#begin(store),
    join: ({ cluster, node }) => {
      this.#use.store.join(cluster, node)
      return null
    },
    put: put => this.#put(put),
    remove: ({ id, generation }) => this.#remove(id, generation),
    forgetUnlinked: ({ id }) => {
      this.#use.blocks.dropUnlinked(id)
      return null
    },
    noteUnproven: file => {
      this.#use.unproven.add(file)
      this.#hasUnproven = true
      return null
    },
    acked: ({ sequence }) => {
      this.#use.changes.drop(sequence)
      return null
    },
    scrubbed: ({ id }) => {
      this.#use.store.setScrubbed(id)
      return null
    },
    vacuum: ({ pages }) => {
      this.#db.exec(`PRAGMA incremental_vacuum(${Math.trunc(pages)})`)
      return Number(this.#db.pragma('freelist_count', { simple: true }))
    },
    totals: () => this.#totals,
    close: () => {
      this.#use.store.closed()
      this.abandon()
      return null
    },
    lookup: ({ id }) => this.#use.blocks.get(id),
    get: ({ id }) => {
      const row = this.#use.blocks.get(id)
      return row && { row, data: row.place === place.row ? this.#use.blocks.data(id) : undefined }
    },
    changes: ({ after, limit }) => this.#use.changes.after(after, limit),
    digest: ({ prefixBits }) => {
      assert(prefixBits <= bucketBits, 'buckets are folded, never split')
      return this.#asOf(sequence => ({ sequence, digests: this.#use.buckets.digests(prefixBits) }))
    },
    bucket: ({ prefixBits, bucket }) =>
      this.#asOf(sequence => ({ sequence, blocks: this.#use.blocks.bucket(prefixBits, bucket) })),
    next: ({ after }) => this.#use.blocks.next(after),
    files: ({ folder }) => this.#use.blocks.files(folder),
  }

  /** Reads within one snapshot of the database, together with the sequence number it is as of. */
  #asOf<T>(read: (sequence: bigint) => T): T {
    const snapshot = this.#db.transaction(() =>
      read(must(this.#use.store.read(), 'store row').totals.sequence),
    )
    return snapshot.deferred()
  }

  #begin(store: Uint8Array): IndexOps['open']['out'] {
    const format = Number(this.#db.pragma('user_version', { simple: true }))
    const application = Number(this.#db.pragma('application_id', { simple: true }))
    const tables = Number(this.#db.prepare('SELECT count(*) FROM sqlite_schema').pluck().get())
    if (tables > 0 && application !== applicationId) throw new UsageError('the index is no database of Cairn')
    this.#check()
    if (format > formatVersion)
      throw new UsageError(`the index has format ${format}, this program knows up to ${formatVersion}`)
    const fresh = tables === 0
    // Of a program that kept such files without a note, also when it closed in order.
    const unnoted =
      this.#db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'unproven'").get() === undefined
    this.#db
      .transaction(() => {
        if (fresh) this.#create(store)
        if (unnoted) this.#db.exec(unprovenSchema)
      })
      .immediate()
    const { identity, totals, clean, scrubbed } = must(this.#use.store.read(), 'store row')
    this.#totals = totals
    this.#use.store.opened()
    const unproven = this.#use.unproven.all()
    this.#hasUnproven = unproven.length > 0
    return {
      identity: { ...identity, incarnation: identity.incarnation + 1n },
      totals,
      fresh,
      clean: clean && !unnoted,
      unproven,
      unlinked: this.#use.blocks.unlinked(),
      scrubbed,
    }
  }

  /** Page by page, where that is quick; else damage shows when a page is used. */
  #check(): void {
    const pages = Number(this.#db.pragma('page_count', { simple: true }))
    if (pages * Number(this.#db.pragma('page_size', { simple: true })) > checkedBytesMax) return
    // SQLite's words span lines: "*** in database main ***", then what it found.
    const found = String(this.#db.pragma('quick_check(1)', { simple: true })).replaceAll(/\s+/g, ' ')
    if (found !== 'ok') throw new UsageError(damage(found))
  }

  #create(store: Uint8Array): void {
    this.#db.exec(schema)
    this.#db.exec(storeSchema)
    this.#db.pragma(`application_id = ${applicationId}`)
    this.#db.pragma(`user_version = ${formatVersion}`)
    new StoreTable(this.#db).create(store)
  }

  #put({ id, generation, length, checksums, data }: IndexOps['put']['in']): IndexOps['put']['out'] {
    const { blocks } = this.#use
    const stored = blocks.get(id)
    if (stored === undefined) {
      const where = data === undefined ? place.file : place.row
      blocks.insert({ id, generation, length, place: where, checksums }, data)
      blocks.dropUnlinked(id)
      if (this.#hasUnproven) this.#use.unproven.drop(id)
      this.#count(1, where, length)
      this.#changed({ id, generation, length, removed: false })
      return { generation, totals: this.#totals }
    }
    if (stored.length !== length)
      throw new FsError(
        refusal,
        `Cannot put block ${id}: stored with ${stored.length} bytes, put with ${length}`,
      )
    if (data === undefined) blocks.setContent(id, checksums, undefined)
    else if (!this.#holds(id, data) || Buffer.compare(stored.checksums, checksums) !== 0)
      blocks.setContent(id, checksums, data)
    if (generation <= stored.generation) return { generation: stored.generation, totals: this.#totals }
    this.#use.buckets.toggle(id, this.#hash(id, stored.generation, length))
    blocks.setGeneration(id, generation)
    this.#changed({ id, generation, length, removed: false })
    return { generation, totals: this.#totals }
  }

  #holds(id: BlockId, data: Uint8Array): boolean {
    const stored = this.#use.blocks.data(id)
    return stored !== undefined && Buffer.compare(stored, data) === 0
  }

  #remove(id: BlockId, generation: bigint): IndexOps['remove']['out'] {
    const { blocks } = this.#use
    const stored = blocks.get(id)
    if (stored?.generation !== generation) return { removed: false, unlink: false, totals: this.#totals }
    blocks.delete(id)
    const unlink = stored.place === place.file
    if (unlink) blocks.addUnlinked(id)
    this.#count(-1, stored.place, stored.length)
    this.#changed({ id, generation, length: stored.length, removed: true })
    return { removed: true, unlink, totals: this.#totals }
  }

  #count(by: 1 | -1, where: number, length: number): void {
    const { blocks, files, bytes } = this.#totals
    this.#totals = {
      ...this.#totals,
      blocks: blocks + by,
      files: files + (where === place.file ? by : 0),
      bytes: bytes + by * storedBytes(length),
    }
  }

  #changed(change: ChangeRow): void {
    const sequence = this.#totals.sequence + 1n
    this.#totals = { ...this.#totals, sequence }
    this.#use.changes.add(sequence, change)
    this.#use.buckets.toggle(change.id, this.#hash(change.id, change.generation, change.length))
  }

  /** As nodes.proto defines it for InventoryDigest. */
  #hash(id: BlockId, generation: bigint, length: number): bigint {
    const text = Buffer.alloc(44)
    blockIdToBytes(id).copy(text)
    text.writeBigUInt64BE(generation, 32)
    text.writeUInt32BE(length, 40)
    return this.#checksums.xxh64(text)
  }
}

/** A database error as what the store does about it: full, read-only or failing. */
function failure(error: unknown): IndexReply {
  const message = messageOf(error)
  if (error instanceof UsageError) return { ok: false, is: 'usage', message }
  if (error instanceof FsError) return { ok: false, is: 'failure', errno: error.errno, message }
  if (isDamage(error)) return { ok: false, is: 'damage', message: damage(message) }
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const known = code.startsWith('SQLITE_FULL')
    ? errno.ENOSPC
    : code.startsWith('SQLITE_READONLY')
      ? errno.EROFS
      : errno.EIO
  return { ok: false, is: 'failure', errno: known, message: `block index: ${message}` }
}

const damage = (what: string): string =>
  `the block index is damaged (${what}): cairn fsck --repair with this folder makes it anew from the files of blocks, and as a new node other nodes' copies replace what was in it`
