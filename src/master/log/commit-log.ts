import type { Checksums } from '../../core/checksum.ts'
import { encodeRecord, pagesPerRecord } from '../../wire/log-records.ts'
import type { Store } from '../store/store.ts'
import type { PageSource } from './changed-pages.ts'
import type { Logged } from './log-state.ts'

/** Changes of so long become one record: what is changed again and again, as most pages are, is sent once. */
const everyMs = 200
/** SQLite's log is moved into the database when it has so many pages. */
const movedPages = 4000

/** Makes records of what an engine commits. One for each start of an engine, on its thread. */
export class CommitLog {
  readonly #store: Store
  readonly #checksums: Checksums
  readonly #source: PageSource
  #sequence = 0n
  #takenMs = Number.NEGATIVE_INFINITY

  /** From now on SQLite's log is moved by this alone, after its pages were seen. */
  constructor(store: Store, checksums: Checksums, source: PageSource) {
    this.#store = store
    this.#checksums = checksums
    this.#source = source
    store.moveLogByHand()
  }

  /** After a commit, at `now` and cluster time `time`. Undefined while it is not yet time to look. */
  take(now: number, time: bigint, must: boolean): Omit<Logged, 'nodes'> | undefined {
    if (!must && now - this.#takenMs < everyMs) return undefined
    this.#takenMs = now
    const { incarnation, facts } = this.#store.format
    const records = this.#records(incarnation, time)
    if ((this.#source.frames ?? 0) >= movedPages) this.#store.moveLog()
    return { cluster: facts.cluster, incarnation, sequence: this.#sequence, time, records }
  }

  #records(incarnation: bigint, time: bigint): Uint8Array[] {
    const changed = this.#source.take()
    if (changed === undefined) return []
    const { pageBytes, databasePages, missed, pages } = changed
    // A number without a record: who has what is before it needs a new base.
    if (missed) this.#sequence++
    const most = pagesPerRecord(pageBytes)
    const records: Uint8Array[] = []
    for (let at = 0; at === 0 || at < pages.length; at += most) {
      const head = {
        incarnation,
        sequence: ++this.#sequence,
        time,
        databasePages: at + most >= pages.length ? databasePages : 0,
        pageBytes,
      }
      records.push(encodeRecord(this.#checksums, head, pages.slice(at, at + most)))
    }
    return records
  }
}
