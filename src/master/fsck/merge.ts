import type { Store } from '../store/store.ts'

export type Row = readonly bigint[]

/** Rows of a query whose first column rises, looked up by rising keys. */
export class Merged implements Disposable {
  readonly #rows: IterableIterator<Row>
  #next: Row | undefined

  constructor(store: Store, sql: string) {
    this.#rows = store.db.prepare<[], Row>(sql).safeIntegers().raw().iterate()
    this.#advance()
  }

  /** The row of `key`. Rows of smaller keys, that nobody asked for, go to `skipped`. */
  at(key: bigint, skipped?: (row: Row) => void): Row | undefined {
    while (this.#next !== undefined && key > (this.#next[0] as bigint)) {
      skipped?.(this.#next)
      this.#advance()
    }
    if (this.#next?.[0] !== key) return undefined
    const row = this.#next
    this.#advance()
    return row
  }

  /** What is left, and ends the query. */
  rest(skipped: (row: Row) => void): void {
    while (this.#next !== undefined) {
      skipped(this.#next)
      this.#advance()
    }
  }

  /** A query that was left in the middle would keep the database from being written to. */
  [Symbol.dispose](): void {
    this.#rows.return?.()
  }

  #advance(): void {
    const step = this.#rows.next()
    this.#next = step.done === true ? undefined : step.value
  }
}

/** Every row of a query. */
export function* rowsOf(store: Store, sql: string): Generator<Row> {
  yield* store.db.prepare<[], Row>(sql).safeIntegers().raw().iterate()
}
