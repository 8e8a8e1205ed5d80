import type { Store } from '../store/store.ts'
import type { Findings } from './findings.ts'
import { rowsOf } from './merge.ts'

interface Check {
  readonly kind: string
  readonly sql: string
  readonly says: string
}

/** The row lies in a doomed range. */
const isDoomed = `EXISTS (SELECT 1 FROM doomed d WHERE d.ino = e.ino AND d.start <= e.offset AND e.offset < d.end)`

/** Each finds (ino, offset) of rows that are wrong. */
const checks: readonly Check[] = [
  {
    kind: 'overlap',
    sql: `SELECT ino, offset FROM (
            SELECT ino, offset, lag(offset + length) OVER (PARTITION BY ino ORDER BY offset) AS last FROM extents
          ) WHERE offset < last`,
    says: 'overlaps the one before it',
  },
  {
    kind: 'block of extent',
    sql: `SELECT e.ino, e.offset FROM extents e LEFT JOIN blocks b ON b.key = e.block
          WHERE b.key IS NULL OR b.state <> 0`,
    says: 'names a block that is missing or not live',
  },
  {
    kind: 'range of extent',
    sql: `SELECT e.ino, e.offset FROM extents e JOIN blocks b ON b.key = e.block
          WHERE e.offset < 0 OR e.length < 1 OR e.block_offset < 0 OR e.block_offset + e.length > b.length`,
    says: 'is not within its block',
  },
  {
    kind: 'extent beyond the end',
    sql: `SELECT e.ino, e.offset FROM extents e JOIN inodes i ON i.ino = e.ino
          WHERE e.offset + e.length > i.size AND NOT ${isDoomed}`,
    says: "is beyond the file's size",
  },
  {
    kind: 'extent of no inode',
    sql: `SELECT e.ino, e.offset FROM extents e LEFT JOIN inodes i ON i.ino = e.ino
          WHERE i.ino IS NULL AND NOT ${isDoomed}`,
    says: 'belongs to no inode and is not being removed',
  },
  {
    kind: 'border of doomed range',
    sql: `SELECT e.ino, e.offset FROM doomed d JOIN extents e ON e.ino = d.ino
          WHERE (e.offset < d.start AND e.offset + e.length > d.start)
             OR (e.offset < d.end AND e.offset + e.length > d.end)`,
    says: 'crosses the border of a range that is being removed',
  },
]

export function checkExtents(store: Store, findings: Findings): void {
  for (const { kind, sql, says } of checks) {
    for (const [ino, offset] of rowsOf(store, sql)) {
      findings.add(kind, `The extent of inode ${String(ino)} at ${String(offset)} ${says}`)
    }
  }
  const doomed = `SELECT ino, start FROM (
      SELECT ino, start, end, lag(end) OVER (PARTITION BY ino ORDER BY start) AS last FROM doomed
    ) WHERE start >= end OR start < last`
  for (const [ino, start] of rowsOf(store, doomed)) {
    findings.add(
      'doomed',
      `The doomed range of inode ${String(ino)} at ${String(start)} is empty or overlaps`,
    )
  }
}
