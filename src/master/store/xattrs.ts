import type { Database } from 'better-sqlite3'
import type { Ino } from '../../core/ids.ts'

/** Extended attributes, POSIX ACLs among them in the kernel's binary form (version 2). */
export class Xattrs {
  static readonly schema = `
    CREATE TABLE xattrs (
      ino INTEGER NOT NULL,
      name BLOB NOT NULL,
      value BLOB NOT NULL,
      PRIMARY KEY (ino, name)
    ) STRICT, WITHOUT ROWID;`

  readonly #get
  readonly #names
  readonly #bytes
  readonly #put
  readonly #delete
  readonly #deleteAll

  constructor(db: Database) {
    this.#get = db
      .prepare<[bigint, Uint8Array], Buffer>('SELECT value FROM xattrs WHERE ino = ? AND name = ?')
      .pluck()
    this.#names = db.prepare<[bigint], Buffer>('SELECT name FROM xattrs WHERE ino = ? ORDER BY name').pluck()
    this.#bytes = db.prepare<[bigint], { names: number; values: number }>(
      `SELECT ifnull(sum(length(name) + 1), 0) AS "names", ifnull(sum(length(value)), 0) AS "values"
       FROM xattrs WHERE ino = ?`,
    )
    this.#put = db.prepare<[bigint, Uint8Array, Uint8Array]>(
      'INSERT INTO xattrs (ino, name, value) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value',
    )
    this.#delete = db.prepare<[bigint, Uint8Array]>('DELETE FROM xattrs WHERE ino = ? AND name = ?')
    this.#deleteAll = db.prepare<[bigint]>('DELETE FROM xattrs WHERE ino = ?')
  }

  get(ino: bigint, name: Uint8Array): Buffer | undefined {
    return this.#get.get(ino, name)
  }

  names(ino: bigint): Buffer[] {
    return this.#names.all(ino)
  }

  /** Bytes of the list of names as listxattr(2) gives it, and of all values. */
  bytes(ino: bigint): { readonly names: number; readonly values: number } {
    return this.#bytes.get(ino) ?? { names: 0, values: 0 }
  }

  put(ino: Ino, name: Uint8Array, value: Uint8Array): void {
    this.#put.run(ino, name, value)
  }

  /** False if there was none. */
  remove(ino: Ino, name: Uint8Array): boolean {
    return this.#delete.run(ino, name).changes > 0
  }

  removeAll(ino: Ino): void {
    this.#deleteAll.run(ino)
  }
}
