/**
 * Repairs a database that nobody else has open, in one transaction, by what its tables say twice: counts, links,
 * flags, rows of nothing. What it cannot know it leaves, and says so. A rehearsal does the same and takes it back.
 */
import type { Database } from 'better-sqlite3'
import { type Ino, rootIno, type SessionId, sessionId } from '../../core/ids.ts'
import { S_IFDIR, S_IFMT } from '../../core/attr.ts'
import { nameFromText, nameToBytes } from '../../core/name.ts'
import { lostCommits } from '../log/wal-damage.ts'
import type { ReadWal } from '../log/wal-reader.ts'
import { closeOrphan } from '../namespace/lifetime.ts'
import { blockState } from '../store/blocks.ts'
import { openDatabaseReader } from '../store/open-database.ts'
import { damaged, isDamage, logDamaged, type Store, type StoreOptions } from '../store/store.ts'
import { totals, usedIds } from './check-counters.ts'
import { Findings } from './findings.ts'
import { fsck } from './fsck.ts'
import { type Row, rowsOf } from './merge.ts'
import { repairSteps, type RepairStep } from './repair-steps.ts'

export interface RepairResult {
  /** What was done, or would be. */
  readonly actions: readonly string[]
  /** What fsck finds afterwards. */
  readonly left: readonly string[]
}

/** Sessions have ids from 1 on: what nobody has open. */
const nobody: SessionId = sessionId(0n)
/** Ids are issued this far beyond the highest that is in use, since nobody knows which were issued and used up. */
const idsAhead = 2 ** 40
const foundName = nameToBytes(nameFromText('lost+found'))

/** `time` is wall clock, ns. Nothing stays changed unless `keep`. */
export function repair(store: Store, time: bigint, keep: boolean): RepairResult {
  const actions = new Findings()
  checkPages(store, actions)
  store.begin()
  let left: readonly string[]
  try {
    if (actions.lines().length > 0) store.db.exec('REINDEX')
    for (const step of repairSteps) run(store, step, time, actions)
    keepNameless(store, time, actions)
    // Directories got entries by that.
    for (const step of repairSteps) run(store, step, time, actions)
    destroyRemoved(store, time, actions)
    mendCounters(store, actions)
    if (keep) store.commit()
    left = fsck(store, true).problems
  } finally {
    if (store.inTransaction) store.rollback()
  }
  return { actions: actions.lines(), left }
}

/** Indexes can be made anew from their tables; pages cannot. */
function checkPages(store: Store, actions: Findings): void {
  const { index, pages } = pageProblems(store.db)
  if (pages !== undefined) throw damaged(`its pages: ${pages}`, {})
  if (index !== undefined) actions.add('index', `make the indexes anew: ${index}`)
}

/** The first of what is wrong with the indexes, and with anything else, which nothing can put right. */
function pageProblems(db: Database): { readonly index?: string; readonly pages?: string } {
  let lines: string[]
  try {
    const rows = db.pragma('integrity_check(100)') as object[]
    lines = rows.flatMap(row => Object.values(row).map(String)).filter(line => line !== 'ok')
  } catch (thrown) {
    if (!isDamage(thrown)) throw thrown
    lines = [thrown.message]
  }
  const ofIndex = (line: string): boolean => /index/i.test(line) && !/disk image|btree|page/i.test(line)
  const [index, pages] = [lines.find(ofIndex), lines.find(line => !ofIndex(line))]
  return {
    ...(index === undefined ? {} : { index }),
    ...(pages === undefined ? {} : { pages: pages.replaceAll(/\s+/g, ' ') }),
  }
}

/**
 * Throws DatabaseDamagedError for what no repair may go on with: a log in which SQLite would not find all that was
 * committed (and which it would empty on the way), or pages that are not what was written. Neither the database nor the
 * log is changed by it. `log`: undefined where there is none.
 */
export function refuseDamaged(database: string, log: ReadWal | undefined, options: StoreOptions): void {
  const lost = log === undefined ? 0 : lostCommits(log)
  if (lost > 0) throw logDamaged(lost, options)
  const db = openDatabaseReader(database)
  try {
    const { pages } = pageProblems(db)
    if (pages !== undefined) throw damaged(`its pages: ${pages}`, options)
  } finally {
    db.close()
  }
}

function run(store: Store, { does, before, find, fix }: RepairStep, time: bigint, actions: Findings): void {
  if (before !== undefined) store.db.exec(before)
  let found = false
  for (const row of rowsOf(store, find)) {
    found = true
    actions.add(does, describe(does, row))
  }
  if (!found) return
  const statement = store.db.prepare(fix)
  if (fix.includes('$time')) statement.run({ time })
  else statement.run()
}

const describe = (does: string, row: Row): string =>
  does.replaceAll(/\{(\d)\}/g, (_match, column: string) => String(row[Number(column)]))

/** What has no name although it was not removed gets one in /lost+found. */
function keepNameless(store: Store, time: bigint, actions: Findings): void {
  const nameless = [
    ...rowsOf(
      store,
      `SELECT ino, mode FROM inodes WHERE nlink > 0 AND ino <> ${rootIno.toString()}
       AND ino NOT IN (SELECT ino FROM dirents) AND ino NOT IN (SELECT ino FROM orphans)`,
    ),
  ]
  if (nameless.length === 0) return
  const folder = lostAndFound(store, time, actions)
  if (folder === undefined) return
  for (const [number, mode] of nameless) {
    const ino = number as Ino
    const name = nameToBytes(nameFromText(`#${ino}`))
    const inode = store.inodes.find(ino)
    if (inode === undefined || store.dirents.find(folder, name) !== undefined) continue
    actions.add('lost+found', `give inode ${ino} the name /lost+found/#${ino}`)
    store.dirents.add(folder, name, ino, Number(mode))
    if ((inode.mode & S_IFMT) === S_IFDIR) inode.parent = folder
    else inode.nlink = 1
    store.inodes.save(inode)
  }
}

function lostAndFound(store: Store, time: bigint, actions: Findings): Ino | undefined {
  const there = store.dirents.find(rootIno, foundName)
  if (there !== undefined) return there.type === S_IFDIR ? there.ino : undefined
  const root = store.inodes.find(rootIno)
  if (root === undefined) return undefined
  const largest = usedIds
    .filter(([counter]) => counter === 'ino')
    .reduce((most, [, sql]) => (first(store, sql) > most ? first(store, sql) : most), 0n)
  const next = store.counters.peek('ino')
  if (next <= largest) store.counters.issue('ino', Number(largest - next + 1n))
  const ino = store.inodes.issueIno()
  actions.add('lost+found', 'make the directory /lost+found')
  store.inodes.add({
    ...root,
    ino,
    mode: S_IFDIR | 0o700,
    nlink: 2,
    uid: 0,
    gid: 0,
    parent: rootIno,
    flags: 0,
    ...{ atime: time, mtime: time, ctime: time, btime: time },
  })
  store.dirents.add(rootIno, foundName, ino, S_IFDIR)
  return ino
}

/** Files with bytes in blocks that are gone: taking them apart would go by counts that are wrong. */
const broken = `SELECT e.ino FROM extents e LEFT JOIN blocks b ON b.key = e.block
  WHERE b.key IS NULL OR b.state = ${blockState.deleting}`

/** Inodes without a name that nobody has open: their removal was not finished. */
function destroyRemoved(store: Store, time: bigint, actions: Findings): void {
  const removed = [
    ...rowsOf(
      store,
      `SELECT ino FROM inodes WHERE nlink = 0 AND ino NOT IN (SELECT ino FROM orphans) AND ino NOT IN (${broken})`,
    ),
  ]
  for (const [ino] of removed) {
    actions.add(
      'removed',
      `finish the removal of inode ${String(ino)}, which has no name and is open nowhere`,
    )
    store.orphans.add(ino as Ino, nobody)
    closeOrphan(store, ino as Ino, nobody, time)
  }
  const lost = [
    ...rowsOf(
      store,
      `SELECT ino, session FROM orphans
       WHERE session NOT IN (SELECT id FROM sessions) AND ino NOT IN (${broken})`,
    ),
  ]
  for (const [ino, session] of lost) {
    actions.add('orphan', `let go of inode ${String(ino)}, which session ${String(session)} had open`)
    closeOrphan(store, ino as Ino, session as SessionId, time)
  }
}

function mendCounters({ db, counters }: Store, actions: Findings): void {
  const store = { db, counters }
  for (const [counter, sql] of usedIds) {
    const largest = first(store, sql)
    const next = counters.peek(counter)
    if (largest < next) continue
    counters.issue(counter, Number(largest - next) + idsAhead)
    actions.add('counter', `issue ids of kind ${counter} from ${counters.peek(counter)} on`)
  }
  for (const [counter, sql] of totals) {
    const counted = first(store, sql)
    const total = counters.total(counter)
    if (counted === total) continue
    counters.adjust(counter, counted - total)
    actions.add('total', `set the total of ${counter} to ${counted}`)
  }
}

function first(store: Pick<Store, 'db'>, sql: string): bigint {
  return store.db.prepare<[], bigint | null>(sql).safeIntegers().pluck().get() ?? 0n
}
