import type { Database } from 'better-sqlite3'
import { must } from '../../core/assert.ts'

/** Ids that are issued once and never again. */
const ids = ['ino', 'block', 'generation', 'session', 'node', 'cookie', 'order'] as const
/** Sums over other tables, so that status and statfs need not scan them. */
const totals = ['inodes', 'liveBlocks', 'liveBytes', 'condemnedBlocks', 'condemnedBytes'] as const

export type IdCounter = (typeof ids)[number]
export type TotalCounter = (typeof totals)[number]
type Totals = Readonly<Record<TotalCounter, bigint>>

/**
 * Where the ids begin. The root takes inode 1. Cookies begin late, so that a client may use small
 * ones for `.` and `..`.
 */
const first: Readonly<Record<IdCounter, bigint>> = {
  ino: 2n,
  block: 1n,
  generation: 1n,
  session: 1n,
  node: 1n,
  cookie: 16n,
  order: 1n,
}

/**
 * Generations are written ahead: a plan issues some and changes nothing else, so that it need not wait for the
 * disk. A restart skips what was left of them.
 */
const aheadOf: Readonly<Partial<Record<IdCounter, bigint>>> = { generation: 65_536n }

/**
 * Id counters and totals. Held in memory and written once per transaction, in that transaction: an
 * id that reached another table, a reply or a peer is on the disk together with it, or below one that is.
 * What is rolled back takes the totals back but not the ids, since an id may have been told to somebody already.
 */
export class Counters {
  static readonly schema = `
    CREATE TABLE counters (
      name TEXT NOT NULL PRIMARY KEY,
      value INTEGER NOT NULL -- of an id: none from here on has been issued
    ) STRICT, WITHOUT ROWID;`

  readonly #ids = new Map<IdCounter, bigint>()
  /** As written, or about to be: none from here on is issued before more are. */
  readonly #bounds = new Map<IdCounter, bigint>()
  #totals: Totals
  readonly #dirty = new Set<IdCounter | TotalCounter>()
  readonly #write

  constructor(db: Database) {
    const read = db
      .prepare<[], { name: string; value: bigint }>('SELECT name, value FROM counters')
      .safeIntegers()
    this.#write = db.prepare<[string, bigint]>(
      'INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value',
    )
    const stored = new Map(read.all().map(({ name, value }) => [name, value]))
    for (const name of ids) {
      const next = stored.get(name) ?? first[name]
      this.#ids.set(name, next)
      this.#bounds.set(name, next)
    }
    this.#totals = Object.fromEntries(totals.map(name => [name, stored.get(name) ?? 0n])) as Totals
  }

  /** Issues the next id of a kind, or the first of `count` in sequence. */
  issue(name: IdCounter, count = 1): bigint {
    const value = must(this.#ids.get(name), name)
    const next = value + BigInt(count)
    this.#ids.set(name, next)
    if (next > must(this.#bounds.get(name), name)) {
      this.#bounds.set(name, next + (aheadOf[name] ?? 0n))
      this.#dirty.add(name)
    }
    return value
  }

  /** The next id that will be issued: above every one in use. */
  peek(name: IdCounter): bigint {
    return must(this.#ids.get(name), name)
  }

  total(name: TotalCounter): bigint {
    return this.#totals[name]
  }

  adjust(name: TotalCounter, delta: bigint): void {
    this.#totals = { ...this.#totals, [name]: this.#totals[name] + delta }
    this.#dirty.add(name)
  }

  /** What `restore` takes to undo every `adjust` since. */
  mark(): Totals {
    return this.#totals
  }

  restore(mark: Totals): void {
    this.#totals = mark
  }

  /** Writes what changed; part of the transaction that ends now. */
  write(): void {
    for (const name of this.#dirty) {
      this.#write.run(
        name,
        name in this.#totals
          ? this.#totals[name as TotalCounter]
          : must(this.#bounds.get(name as IdCounter), name),
      )
    }
  }

  /** The transaction with the last `write` is on the disk. */
  written(): void {
    this.#dirty.clear()
  }
}
