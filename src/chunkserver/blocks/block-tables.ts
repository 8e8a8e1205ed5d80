import type { Database, Statement } from 'better-sqlite3'
import type { BlockId } from '../../core/ids.ts'
import { blockIdFromBytes, blockIdToBytes } from '../../core/ids.ts'
import type { BlockRow, ChangeRow, Place, UnprovenFile } from './index-protocol.ts'

/**
 * The tables of a store's index: which blocks are here. Authoritative, except `bucket`, which could be
 * computed from `block`. A row of `block` is written only after the block's bytes are on stable
 * storage, so that a crash leaves at worst a file without a row, never a row without a file.
 */
export const formatVersion = 1
/** "Cair" as a number: tells this file from other SQLite files. */
export const applicationId = 0x43616972

export const schema = `
  CREATE TABLE block (
    key INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,       -- SHA-256
    generation INTEGER NOT NULL,
    length INTEGER NOT NULL,
    place INTEGER NOT NULL,        -- 0: bytes in data, 1: in a file named by id
    checksums BLOB NOT NULL,
    data BLOB                      -- last, so that the columns before it are read without it
  ) STRICT;

  -- What the master does not know yet, in order.
  CREATE TABLE change (
    sequence INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    generation INTEGER NOT NULL,
    length INTEGER NOT NULL,
    removed INTEGER NOT NULL
  ) STRICT;

  -- Per bucket of ids, the xor of the hashes of its blocks (InventoryDigest in nodes.proto).
  CREATE TABLE bucket (
    number INTEGER PRIMARY KEY,
    digest INTEGER NOT NULL        -- 64 bits, signed
  ) STRICT;

  -- Blocks whose rows are gone and whose files may not be. Unlinked at the next opening.
  CREATE TABLE unlinked (id BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
`

/** Since an index may be of a program that knew none: such a program leaves it alone. */
export const unprovenSchema = `
  -- Files without a row whose names are not those of their content in no dedup domain.
  CREATE TABLE unproven (
    id BLOB PRIMARY KEY,
    length INTEGER NOT NULL,
    sha256 BLOB NOT NULL
  ) STRICT, WITHOUT ROWID;
`

/** Finest buckets that are kept; coarser ones are folded from them. */
export const bucketBits = 12

interface RawBlock {
  readonly id: Buffer
  readonly generation: bigint
  readonly length: bigint
  readonly place: bigint
  readonly checksums: Buffer
}

interface RawChange {
  readonly id: Buffer
  readonly generation: bigint
  readonly length: bigint
  readonly removed: bigint
}

const blockOf = (raw: RawBlock): BlockRow => ({
  id: blockIdFromBytes(raw.id),
  generation: raw.generation,
  length: Number(raw.length),
  place: Number(raw.place) as Place,
  checksums: new Uint8Array(raw.checksums),
})

const changeOf = (raw: RawChange): ChangeRow => ({
  id: blockIdFromBytes(raw.id),
  generation: raw.generation,
  length: Number(raw.length),
  removed: raw.removed !== 0n,
})

const columns = 'id, generation, length, place, checksums'

/** `block` and `unlinked`. */
export class BlockTable {
  readonly #get: Statement<[Buffer], RawBlock>
  readonly #data: Statement<[Buffer], { data: Buffer | null }>
  readonly #insert: Statement<[Buffer, bigint, number, number, Uint8Array, Uint8Array | null]>
  readonly #generation: Statement<[bigint, Buffer]>
  readonly #content: Statement<[Uint8Array, Uint8Array | null, Buffer]>
  readonly #delete: Statement<[Buffer]>
  readonly #next: Statement<[Buffer], RawBlock>
  readonly #between: Statement<[Buffer, Buffer], RawChange>
  readonly #files: Statement<[Buffer, Buffer], { id: Buffer }>
  readonly #addUnlinked: Statement<[Buffer]>
  readonly #dropUnlinked: Statement<[Buffer]>
  readonly #unlinked: Statement<[], { id: Buffer }>

  constructor(db: Database) {
    this.#get = db.prepare<[Buffer], RawBlock>(`SELECT ${columns} FROM block WHERE id = ?`).safeIntegers()
    this.#data = db.prepare('SELECT data FROM block WHERE id = ? AND place = 0')
    this.#insert = db.prepare(
      'INSERT INTO block (id, generation, length, place, checksums, data) VALUES (?, ?, ?, ?, ?, ?)',
    )
    this.#generation = db.prepare('UPDATE block SET generation = ? WHERE id = ?')
    this.#content = db.prepare('UPDATE block SET checksums = ?, data = ? WHERE id = ?')
    this.#delete = db.prepare('DELETE FROM block WHERE id = ?')
    this.#next = db
      .prepare<[Buffer], RawBlock>(`SELECT ${columns} FROM block WHERE id > ? ORDER BY id LIMIT 1`)
      .safeIntegers()
    this.#between = db
      .prepare<[Buffer, Buffer], RawChange>(
        'SELECT id, generation, length, 0 AS removed FROM block WHERE id BETWEEN ? AND ? ORDER BY id',
      )
      .safeIntegers()
    this.#files = db.prepare('SELECT id FROM block WHERE id BETWEEN ? AND ? AND place = 1')
    this.#addUnlinked = db.prepare('INSERT OR IGNORE INTO unlinked (id) VALUES (?)')
    this.#dropUnlinked = db.prepare('DELETE FROM unlinked WHERE id = ?')
    this.#unlinked = db.prepare('SELECT id FROM unlinked')
  }

  get(id: BlockId): BlockRow | undefined {
    const raw = this.#get.get(blockIdToBytes(id))
    return raw === undefined ? undefined : blockOf(raw)
  }

  /** Undefined if there is no such block in a row. */
  data(id: BlockId): Uint8Array | undefined {
    const data = this.#data.get(blockIdToBytes(id))?.data
    return data === undefined || data === null ? undefined : data
  }

  insert(row: BlockRow, data: Uint8Array | undefined): void {
    const { generation, length, place, checksums } = row
    this.#insert.run(blockIdToBytes(row.id), generation, length, place, checksums, data ?? null)
  }

  setGeneration(id: BlockId, generation: bigint): void {
    this.#generation.run(generation, blockIdToBytes(id))
  }

  setContent(id: BlockId, checksums: Uint8Array, data: Uint8Array | undefined): void {
    this.#content.run(checksums, data ?? null, blockIdToBytes(id))
  }

  delete(id: BlockId): void {
    this.#delete.run(blockIdToBytes(id))
  }

  next(after: BlockId | undefined): BlockRow | undefined {
    const raw = this.#next.get(after === undefined ? Buffer.alloc(0) : blockIdToBytes(after))
    return raw === undefined ? undefined : blockOf(raw)
  }

  /** Blocks whose first `prefixBits` bits are `bucket`, as additions. */
  bucket(prefixBits: number, bucket: number): ChangeRow[] {
    const low = Buffer.alloc(32, 0)
    const high = Buffer.alloc(32, 0xff)
    const shift = 16 - prefixBits
    low.writeUInt16BE(bucket << shift)
    high.writeUInt16BE((bucket << shift) | ((1 << shift) - 1))
    return this.#between.all(low, high).map(changeOf)
  }

  files(folder: number): BlockId[] {
    const low = Buffer.alloc(32, 0)
    const high = Buffer.alloc(32, 0xff)
    low[0] = folder
    high[0] = folder
    return this.#files.all(low, high).map(row => blockIdFromBytes(row.id))
  }

  addUnlinked(id: BlockId): void {
    this.#addUnlinked.run(blockIdToBytes(id))
  }

  dropUnlinked(id: BlockId): void {
    this.#dropUnlinked.run(blockIdToBytes(id))
  }

  unlinked(): BlockId[] {
    return this.#unlinked.all().map(row => blockIdFromBytes(row.id))
  }
}

/** `change`. */
export class ChangeTable {
  readonly #add: Statement<[bigint, Buffer, bigint, number, number]>
  readonly #after: Statement<[bigint, number], RawChange & { sequence: bigint }>
  readonly #drop: Statement<[bigint]>

  constructor(db: Database) {
    this.#add = db.prepare(
      'INSERT INTO change (sequence, id, generation, length, removed) VALUES (?, ?, ?, ?, ?)',
    )
    this.#after = db
      .prepare<[bigint, number], RawChange & { sequence: bigint }>(
        'SELECT sequence, id, generation, length, removed FROM change WHERE sequence > ? ORDER BY sequence LIMIT ?',
      )
      .safeIntegers()
    this.#drop = db.prepare('DELETE FROM change WHERE sequence <= ?')
  }

  add(sequence: bigint, change: ChangeRow): void {
    this.#add.run(
      sequence,
      blockIdToBytes(change.id),
      change.generation,
      change.length,
      change.removed ? 1 : 0,
    )
  }

  /** The oldest changes above `after`, with consecutive numbers. */
  after(after: bigint, limit: number): { first: bigint; changes: ChangeRow[] } {
    const rows = this.#after.all(after, limit)
    const first = rows[0]?.sequence ?? after + 1n
    const run = rows.findIndex((row, index) => row.sequence !== first + BigInt(index))
    return { first, changes: (run === -1 ? rows : rows.slice(0, run)).map(changeOf) }
  }

  drop(through: bigint): void {
    this.#drop.run(through)
  }
}

/** `bucket`. */
export class BucketTable {
  readonly #get: Statement<[number], { digest: bigint }>
  readonly #set: Statement<[number, bigint]>
  readonly #all: Statement<[], { number: bigint; digest: bigint }>

  constructor(db: Database) {
    this.#get = db
      .prepare<[number], { digest: bigint }>('SELECT digest FROM bucket WHERE number = ?')
      .safeIntegers()
    this.#set = db.prepare(
      'INSERT INTO bucket (number, digest) VALUES (?, ?) ON CONFLICT DO UPDATE SET digest = excluded.digest',
    )
    this.#all = db
      .prepare<[], { number: bigint; digest: bigint }>('SELECT number, digest FROM bucket')
      .safeIntegers()
  }

  /** Adds a block to its bucket, or takes it out: the same operation. */
  toggle(id: BlockId, hash: bigint): void {
    const number = Number.parseInt(id.slice(0, bucketBits / 4), 16)
    const digest = this.#get.get(number)?.digest ?? 0n
    this.#set.run(number, BigInt.asIntN(64, digest ^ hash))
  }

  /** The digests of 2^prefixBits buckets. */
  digests(prefixBits: number): bigint[] {
    const digests = new BigUint64Array(2 ** prefixBits)
    for (const { number, digest } of this.#all.iterate()) {
      const bucket = Number(number) >> (bucketBits - prefixBits)
      digests[bucket] = (digests[bucket] ?? 0n) ^ BigInt.asUintN(64, digest)
    }
    return [...digests]
  }
}

/** `unproven`. */
export class UnprovenTable {
  readonly #add: Statement<[Buffer, number, Buffer]>
  readonly #drop: Statement<[Buffer]>
  readonly #all: Statement<[], { readonly id: Buffer; readonly length: number; readonly sha256: Buffer }>

  constructor(db: Database) {
    this.#add = db.prepare('INSERT OR REPLACE INTO unproven (id, length, sha256) VALUES (?, ?, ?)')
    this.#drop = db.prepare('DELETE FROM unproven WHERE id = ?')
    this.#all = db.prepare('SELECT id, length, sha256 FROM unproven')
  }

  add({ id, length, sha256 }: UnprovenFile): void {
    this.#add.run(blockIdToBytes(id), length, blockIdToBytes(sha256))
  }

  drop(id: BlockId): void {
    this.#drop.run(blockIdToBytes(id))
  }

  all(): UnprovenFile[] {
    return this.#all.all().map(({ id, length, sha256 }) => ({
      id: blockIdFromBytes(id),
      length,
      sha256: blockIdFromBytes(sha256),
    }))
  }
}
