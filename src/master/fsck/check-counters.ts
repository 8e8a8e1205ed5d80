import type { IdCounter, TotalCounter } from '../store/counters.ts'
import type { Store } from '../store/store.ts'
import type { Findings } from './findings.ts'
import { rowsOf } from './merge.ts'

/** Where the largest id of a kind in use is to be found. */
export const usedIds: readonly (readonly [counter: IdCounter, sql: string])[] = [
  ['ino', 'SELECT max(ino) FROM inodes'],
  ['ino', 'SELECT max(ino) FROM extents'],
  ['block', 'SELECT max(key) FROM blocks'],
  ['session', 'SELECT max(id) FROM sessions'],
  ['node', 'SELECT max(id) FROM nodes'],
  ['generation', 'SELECT max(generation) FROM replicas'],
  ['generation', 'SELECT max(generation) FROM strays'],
  ['cookie', 'SELECT max(cookie) FROM dirents'],
]

export const totals: readonly (readonly [counter: TotalCounter, sql: string])[] = [
  ['inodes', 'SELECT count(*) FROM inodes'],
  ['liveBlocks', 'SELECT count(*) FROM blocks WHERE state = 0'],
  ['liveBytes', 'SELECT sum(length) FROM blocks WHERE state = 0'],
  ['condemnedBlocks', 'SELECT count(*) FROM blocks WHERE state = 1'],
  ['condemnedBytes', 'SELECT sum(length) FROM blocks WHERE state = 1'],
]

/** Ids are never issued twice, and the totals are those of the rows. */
export function checkCounters(store: Store, findings: Findings): void {
  for (const [counter, sql] of usedIds) {
    const largest = first(store, sql)
    findings.check(largest < store.counters.peek(counter), 'counter', () => {
      return `The next ${counter} would be ${store.counters.peek(counter).toString()}, but ${largest.toString()} is in use`
    })
  }
  for (const [counter, sql] of totals) {
    const counted = first(store, sql)
    findings.check(counted === store.counters.total(counter), 'total', () => {
      return `The total of ${counter} is ${store.counters.total(counter).toString()}, counted ${counted.toString()}`
    })
  }
}

function first(store: Store, sql: string): bigint {
  for (const row of rowsOf(store, sql)) return (row[0] as bigint | null) ?? 0n
  return 0n
}
