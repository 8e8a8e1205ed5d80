import type { Database } from 'better-sqlite3'
import { S_IFMT } from '../../core/attr.ts'
import type { Ino } from '../../core/ids.ts'
import type { Counters } from './counters.ts'
import { fitsInt64 } from './int64.ts'

export interface Entry {
  readonly ino: Ino
  /** Type bits (S_IFMT) of the inode. */
  readonly type: number
  readonly cookie: bigint
}

export interface NamedEntry extends Entry {
  readonly name: Buffer
}

type Row = readonly [ino: bigint, type: bigint, cookie: bigint]
type NamedRow = readonly [ino: bigint, type: bigint, cookie: bigint, name: Buffer]

/**
 * Names. A name keeps its cookie, and thus its place in a listing, from when it is made until it is
 * removed, also when it is led to another inode or renamed within its directory: a listing under
 * way sees it once. Cookies are unique in the cluster and rise.
 */
export class Dirents {
  static readonly schema = `
    CREATE TABLE dirents (
      parent INTEGER NOT NULL,
      name BLOB NOT NULL,
      ino INTEGER NOT NULL,
      type INTEGER NOT NULL, -- of the inode, S_IFMT
      cookie INTEGER NOT NULL,
      PRIMARY KEY (parent, name)
    ) STRICT, WITHOUT ROWID;
    -- Covers a listing: the primary key's columns are part of every index.
    CREATE UNIQUE INDEX dirents_in_order ON dirents (parent, cookie, ino, type);`

  readonly #counters: Counters
  readonly #find
  readonly #list
  readonly #any
  readonly #insert
  readonly #lead
  readonly #rename
  readonly #delete
  readonly #nameOf
  readonly #parentOf

  constructor(db: Database, counters: Counters) {
    this.#counters = counters
    this.#find = db
      .prepare<[bigint, Uint8Array], Row>(
        'SELECT ino, type, cookie FROM dirents WHERE parent = ? AND name = ?',
      )
      .safeIntegers()
      .raw()
    this.#list = db
      .prepare<[bigint, bigint, number], NamedRow>(
        `SELECT ino, type, cookie, name FROM dirents INDEXED BY dirents_in_order
         WHERE parent = ? AND cookie > ? ORDER BY cookie LIMIT ?`,
      )
      .safeIntegers()
      .raw()
    this.#any = db.prepare<[bigint], number>('SELECT 1 FROM dirents WHERE parent = ? LIMIT 1').pluck()
    this.#insert = db.prepare<[bigint, Uint8Array, bigint, number, bigint]>(
      'INSERT INTO dirents (parent, name, ino, type, cookie) VALUES (?, ?, ?, ?, ?)',
    )
    this.#lead = db.prepare<[bigint, number, bigint, Uint8Array]>(
      'UPDATE dirents SET ino = ?, type = ? WHERE parent = ? AND name = ?',
    )
    this.#rename = db.prepare<[Uint8Array, bigint, Uint8Array]>(
      'UPDATE dirents SET name = ? WHERE parent = ? AND name = ?',
    )
    this.#delete = db.prepare<[bigint, Uint8Array]>('DELETE FROM dirents WHERE parent = ? AND name = ?')
    this.#parentOf = db
      .prepare<[bigint], bigint>('SELECT parent FROM dirents WHERE ino = ? LIMIT 1')
      .safeIntegers()
      .pluck()
    this.#nameOf = db
      .prepare<[bigint, bigint], Buffer>('SELECT name FROM dirents WHERE parent = ? AND ino = ? LIMIT 1')
      .pluck()
  }

  find(parent: bigint, name: Uint8Array): Entry | undefined {
    const row = this.#find.get(parent, name)
    return row === undefined ? undefined : { ino: row[0] as Ino, type: Number(row[1]), cookie: row[2] }
  }

  /** In the order of cookies, those after `after`. */
  list(parent: bigint, after: bigint, limit: number): NamedEntry[] {
    if (!fitsInt64(after)) return []
    return this.#list
      .all(parent, after, limit)
      .map(([ino, type, cookie, name]) => ({ ino: ino as Ino, type: Number(type), cookie, name }))
  }

  isEmpty(parent: bigint): boolean {
    return this.#any.get(parent) === undefined
  }

  /** Returns the cookie. */
  add(parent: Ino, name: Uint8Array, ino: Ino, mode: number): bigint {
    const cookie = this.#counters.issue('cookie')
    this.#insert.run(parent, name, ino, mode & S_IFMT, cookie)
    return cookie
  }

  /** An existing name leads to another inode from now on. */
  lead(parent: Ino, name: Uint8Array, ino: Ino, mode: number): void {
    this.#lead.run(ino, mode & S_IFMT, parent, name)
  }

  /** Within a directory, to a name that does not exist. */
  rename(parent: Ino, name: Uint8Array, newName: Uint8Array): void {
    this.#rename.run(newName, parent, name)
  }

  remove(parent: Ino, name: Uint8Array): void {
    this.#delete.run(parent, name)
  }

  /** A directory with a name of the inode; scans all names. For people, not for hot paths. */
  parentOf(ino: Ino): Ino | undefined {
    return this.#parentOf.get(ino) as Ino | undefined
  }

  /** A name of an inode in a directory; scans the directory. For people, not for hot paths. */
  nameOf(parent: Ino, ino: Ino): Buffer | undefined {
    return this.#nameOf.get(parent, ino)
  }
}
