import type { Database } from 'better-sqlite3'
import type { Ino } from '../../core/ids.ts'

/** Targets of symbolic links: one row for each inode of that type. */
export class Symlinks {
  static readonly schema = `
    CREATE TABLE symlinks (
      ino INTEGER PRIMARY KEY,
      target BLOB NOT NULL
    ) STRICT;`

  readonly #get
  readonly #insert
  readonly #delete

  constructor(db: Database) {
    this.#get = db.prepare<[bigint], Buffer>('SELECT target FROM symlinks WHERE ino = ?').pluck()
    this.#insert = db.prepare<[bigint, Uint8Array]>('INSERT INTO symlinks (ino, target) VALUES (?, ?)')
    this.#delete = db.prepare<[bigint]>('DELETE FROM symlinks WHERE ino = ?')
  }

  target(ino: Ino): Buffer | undefined {
    return this.#get.get(ino)
  }

  add(ino: Ino, target: Uint8Array): void {
    this.#insert.run(ino, target)
  }

  remove(ino: Ino): void {
    this.#delete.run(ino)
  }
}
