import type { Database } from 'better-sqlite3'

/** What an operator turned on and off, by name; absent is off. */
export type Switch = 'rebalance'

export class Switches {
  static readonly schema = `
    CREATE TABLE switches (
      name TEXT NOT NULL PRIMARY KEY
    ) STRICT, WITHOUT ROWID;`

  readonly #has
  readonly #on
  readonly #off

  constructor(db: Database) {
    this.#has = db.prepare<[string], number>('SELECT 1 FROM switches WHERE name = ?').pluck()
    this.#on = db.prepare<[string]>('INSERT OR IGNORE INTO switches (name) VALUES (?)')
    this.#off = db.prepare<[string]>('DELETE FROM switches WHERE name = ?')
  }

  isOn(name: Switch): boolean {
    return this.#has.get(name) !== undefined
  }

  set(name: Switch, on: boolean): void {
    if (on) this.#on.run(name)
    else this.#off.run(name)
  }
}
