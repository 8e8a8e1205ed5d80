import type { Database } from 'better-sqlite3'
import { must } from '../../core/assert.ts'
import type { Ino } from '../../core/ids.ts'
import { S_IFDIR } from '../../core/attr.ts'

/** none: callers are who their mount says. root: nobody is root. all: everybody is `anonUid` and `anonGid`. */
export const squashes = ['none', 'root', 'all'] as const
export type Squash = (typeof squashes)[number]

/** own: equal content is one block within the export. shared: with all exports that are shared. */
export const dedups = ['own', 'shared'] as const
export type Dedup = (typeof dedups)[number]

/** What who mounts an export may do. */
export interface ExportRules {
  readonly readOnly: boolean
  readonly squash: Squash
  readonly anonUid: number
  readonly anonGid: number
  /** Whether setuid, setgid and capabilities can be set. */
  readonly setuid: boolean
  /** Whether device nodes can be made. */
  readonly devices: boolean
  /** Calls, and bytes written, of all its mounts together; 0: as many as they can. */
  readonly callsPerSecond: number
  readonly bytesPerSecond: number
  readonly readBytesPerSecond: number
  readonly dedup: Dedup
  /** Whether mounts on the machine of a chunkserver may read the files of blocks by themselves. */
  readonly shortCircuit: boolean
}

export interface ExportRow extends ExportRules {
  readonly name: string
  /** The directory that is exported, wherever it is and whatever it is called. */
  readonly ino: Ino
  /** Its own dedup domain: random, and no other export's of before it either. */
  readonly domain: Buffer
}

/** What is read from files is counted by nobody: where there is a rate, all goes by the chunkserver. */
export const mayShortCircuit = ({ shortCircuit, readBytesPerSecond }: ExportRules): boolean =>
  shortCircuit && readBytesPerSecond === 0

interface Row {
  readonly name: string
  readonly ino: bigint
  readonly read_only: bigint
  readonly squash: bigint
  readonly anon_uid: bigint
  readonly anon_gid: bigint
  readonly setuid: bigint
  readonly devices: bigint
  readonly calls_per_second: bigint
  readonly bytes_per_second: bigint
  readonly read_bytes_per_second: bigint
  readonly dedup: bigint
  readonly short_circuit: bigint
  readonly domain: Buffer
}

const fromRow = (row: Row): ExportRow => ({
  name: row.name,
  ino: row.ino as Ino,
  readOnly: row.read_only !== 0n,
  squash: must(squashes[Number(row.squash)], 'squash of an export'),
  anonUid: Number(row.anon_uid),
  anonGid: Number(row.anon_gid),
  setuid: row.setuid !== 0n,
  devices: row.devices !== 0n,
  callsPerSecond: Number(row.calls_per_second),
  bytesPerSecond: Number(row.bytes_per_second),
  readBytesPerSecond: Number(row.read_bytes_per_second),
  dedup: must(dedups[Number(row.dedup)], 'dedup of an export'),
  shortCircuit: row.short_circuit !== 0n,
  domain: row.domain,
})

/**
 * Which identities may mount which part of the tree. Few, so all of it is in memory, too. An identity that was bound to
 * an export stays bound, to none, when that is removed or names it no more: an administrative slip must not show
 * everything to who was to see a part.
 *
 * While there are exports, names are indexed by what they lead to, since of a file only its names say where it is. That
 * index costs each new name something, so it is made with the first export and dropped with the last.
 */
export class Exports {
  static readonly schema = `
    CREATE TABLE exports (
      name TEXT NOT NULL PRIMARY KEY,
      ino INTEGER NOT NULL,
      read_only INTEGER NOT NULL,
      squash INTEGER NOT NULL, -- 0 none, 1 root, 2 all
      anon_uid INTEGER NOT NULL,
      anon_gid INTEGER NOT NULL,
      setuid INTEGER NOT NULL,
      devices INTEGER NOT NULL,
      calls_per_second INTEGER NOT NULL, -- 0: no limit
      bytes_per_second INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE export_identities (
      identity TEXT NOT NULL, -- '*': everybody else
      export TEXT NOT NULL, -- '': bound, to none
      PRIMARY KEY (identity, export)
    ) STRICT, WITHOUT ROWID;`

  /** What the schema of version 7 lacks. What exports allowed they go on to allow. */
  static readonly domainColumns = `
    ALTER TABLE exports ADD COLUMN read_bytes_per_second INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE exports ADD COLUMN dedup INTEGER NOT NULL DEFAULT 0; -- 0 own, 1 shared
    ALTER TABLE exports ADD COLUMN short_circuit INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE exports ADD COLUMN domain BLOB NOT NULL DEFAULT x''; -- its own dedup domain
    UPDATE exports SET domain = randomblob(16);`

  readonly #db: Database
  readonly #byName: Map<string, ExportRow>
  readonly #ofIdentity = new Map<string, Set<string>>()
  readonly #put
  readonly #delete
  readonly #bind
  readonly #unbind
  #namesOf

  constructor(db: Database) {
    this.#db = db
    const rows = db.prepare<[], Row>('SELECT * FROM exports ORDER BY name').safeIntegers().all()
    this.#byName = new Map(rows.map(row => [row.name, fromRow(row)]))
    const bound = db.prepare<[], { readonly identity: string; readonly export: string }>(
      'SELECT identity, export FROM export_identities',
    )
    for (const { identity, export: name } of bound.all()) this.#boundTo(identity).add(name)
    this.#put = db.prepare(
      `INSERT OR REPLACE INTO exports (name, ino, read_only, squash, anon_uid, anon_gid, setuid, devices, calls_per_second,
         bytes_per_second, read_bytes_per_second, dedup, short_circuit, domain)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    )
    this.#delete = db.prepare<[string]>('DELETE FROM exports WHERE name = ?')
    this.#bind = db.prepare<[string, string]>(
      'INSERT OR IGNORE INTO export_identities (identity, export) VALUES (?, ?)',
    )
    this.#unbind = db.prepare<[string, string]>(
      'DELETE FROM export_identities WHERE identity = ? AND export = ?',
    )
    this.#namesOf = rows.length > 0 ? prepareNames(db) : undefined
  }

  get size(): number {
    return this.#byName.size
  }

  all(): IterableIterator<ExportRow> {
    return this.#byName.values()
  }

  find(name: string): ExportRow | undefined {
    return this.#byName.get(name)
  }

  /** Exports that name the identity, whether they are there or not; with '' for none. Empty: it was never bound. */
  namesFor(identity: string): ReadonlySet<string> {
    return this.#ofIdentity.get(identity) ?? none
  }

  /** Identities that an export names. */
  identitiesOf(name: string): string[] {
    return [...this.#ofIdentity].flatMap(([identity, names]) => (names.has(name) ? [identity] : [])).sort()
  }

  put(row: ExportRow): void {
    if (this.#byName.size === 0) {
      this.#db.exec(namesIndex)
      this.#namesOf = prepareNames(this.#db)
    }
    this.#byName.set(row.name, row)
    const { name, ino, readOnly, squash, anonUid, anonGid, setuid, devices } = row
    const flags = [setuid, devices].map(Number)
    const rates = [row.callsPerSecond, row.bytesPerSecond, row.readBytesPerSecond]
    const rest = [dedups.indexOf(row.dedup), Number(row.shortCircuit), row.domain]
    const who = [squashes.indexOf(squash), anonUid, anonGid]
    this.#put.run(name, ino, Number(readOnly), ...who, ...flags, ...rates, ...rest)
  }

  /** The identities that it names are bound to none, unless another export names them. */
  remove(name: string): void {
    for (const identity of this.identitiesOf(name)) this.drop(identity, name)
    this.#byName.delete(name)
    this.#delete.run(name)
    if (this.#byName.size > 0) return
    this.#namesOf = undefined
    this.#db.exec('DROP INDEX dirents_by_ino')
  }

  bind(identity: string, name: string): void {
    const names = this.#boundTo(identity)
    names.add(name)
    this.#bind.run(identity, name)
    if (name === '' || !names.delete('')) return
    this.#unbind.run(identity, '')
  }

  drop(identity: string, name: string): void {
    const names = this.#ofIdentity.get(identity)
    if (names?.delete(name) !== true) return
    this.#unbind.run(identity, name)
    if (names.size === 0) this.bind(identity, '')
  }

  /** Forgets that the identity was bound. False if it is not, or to an export. */
  release(identity: string): boolean {
    const names = this.#ofIdentity.get(identity)
    if (names?.has('') !== true) return false
    this.#ofIdentity.delete(identity)
    this.#unbind.run(identity, '')
    return true
  }

  /** Directories with a name of the inode, which is none itself; for as long as there is an export. */
  parentsOf(ino: bigint): Ino[] {
    return must(this.#namesOf, 'index of names').all(ino) as Ino[]
  }

  #boundTo(identity: string): Set<string> {
    let names = this.#ofIdentity.get(identity)
    if (names === undefined) this.#ofIdentity.set(identity, (names = new Set()))
    return names
  }
}

const none: ReadonlySet<string> = new Set()

const namesIndex = `CREATE INDEX dirents_by_ino ON dirents (ino, parent) WHERE type <> ${S_IFDIR}`

const prepareNames = (db: Database) =>
  db
    .prepare<[bigint], bigint>(
      `SELECT DISTINCT parent FROM dirents INDEXED BY dirents_by_ino WHERE ino = ? AND type <> ${S_IFDIR}`,
    )
    .safeIntegers()
    .pluck()
