/**
 * Checks every invariant of the metadata against itself: what the commands promise to each other,
 * counted again from the rows. Whether data is readable is another question (it needs the nodes).
 *
 * All tables are read in the order of a key and merged, so that a million files take no memory.
 * Nothing is changed. The caller sees to it that nothing changes meanwhile.
 */
import { KiB, MiB } from '../../core/units.ts'
import { integrityCheckBytesMax, type Store } from '../store/store.ts'
import { checkBlocks } from './check-blocks.ts'
import { checkCounters } from './check-counters.ts'
import { checkExtents } from './check-extents.ts'
import { checkInodes } from './check-inodes.ts'
import { checkStrangers } from './check-strangers.ts'
import { checkTree } from './check-tree.ts'
import { Findings } from './findings.ts'

/** Page cache, and room for sorting, while everything is read once. */
const cacheBytes = 16 * MiB

export interface FsckResult {
  /** One line each; none: all is well. */
  readonly problems: string[]
  readonly inodes: bigint
  readonly dirents: bigint
  readonly extents: bigint
  readonly blocks: bigint
  readonly replicas: bigint
}

/** `thorough`: indexes are compared with their tables whatever the size. */
export function fsck(store: Store, thorough = false): FsckResult {
  const findings = new Findings()
  const cache = Number(store.db.pragma('cache_size', { simple: true }))
  store.db.pragma(`cache_size = -${cacheBytes / KiB}`)
  try {
    checkDatabase(store, findings, thorough)
    for (const check of checks) check(store, findings)
  } finally {
    store.db.pragma(`cache_size = ${cache}`)
  }
  const count = (table: string): bigint =>
    store.db.prepare<[], bigint>(`SELECT count(*) FROM ${table}`).safeIntegers().pluck().get() ?? 0n
  return {
    problems: findings.lines(),
    inodes: count('inodes'),
    dirents: count('dirents'),
    extents: count('extents'),
    blocks: count('blocks'),
    replicas: count('replicas'),
  }
}

/** The pages of the database itself, and the indexes where that does not take long. */
function checkDatabase(store: Store, findings: Findings, always: boolean): void {
  const [pages, pageBytes] = ['page_count', 'page_size'].map(name => store.db.pragma(name, { simple: true }))
  const thorough = always || Number(pages) * Number(pageBytes) <= integrityCheckBytesMax
  const rows = store.db.pragma(thorough ? 'integrity_check(20)' : 'quick_check(20)') as object[]
  for (const line of rows.flatMap(row => Object.values(row).map(String))) {
    findings.check(line === 'ok', 'database', () => `The database is damaged: ${line}`)
  }
}

const checks = [checkInodes, checkTree, checkExtents, checkBlocks, checkStrangers, checkCounters] as const
