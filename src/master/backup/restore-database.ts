/**
 * Turns a copy of a backup into a database that a master may go on with. Whatever the lost master issued, promised
 * or stored after the backup is unknown here, so:
 *
 *   counters jump ahead       no inode number, block key, generation, session, node id or cookie is issued twice
 *   the incarnation jumps     as after very many starts
 *   every session is ended    mounts begin new ones; what they had unanswered is EIO there
 *   every node is unverified  until its inventory was compared: rows may name copies that were deleted since
 *   the restore is pending    nothing is removed anywhere until an operator has confirmed it
 */
import { UsageError } from '../../core/errors.ts'
import { stepOrphansOf } from '../namespace/lifetime.ts'
import { readStamp, removeStamp } from '../store/backup-stamp.ts'
import { jumpAhead } from '../store/jump-ahead.ts'
import { openDatabase, openDatabaseReader } from '../store/open-database.ts'
import { FormatTable } from '../store/format.ts'
import { newestTime } from '../store/newest-time.ts'
import { Store } from '../store/store.ts'
import { fsck } from '../fsck/fsck.ts'

/** What a backup says of itself. */
export interface BackupFacts {
  /** Absent for a database that was copied by hand. */
  readonly taken: bigint | undefined
  readonly program: string
  readonly version: number
  readonly cluster: Buffer
  readonly incarnation: bigint
}

export interface RestoredDatabase {
  readonly facts: BackupFacts
  readonly problems: readonly string[]
  /** Its pages are: it cannot be used at all. */
  readonly damaged: boolean
  readonly inodes: bigint
  readonly blocks: bigint
  readonly nodes: number
  readonly sessionsEnded: number
}

const orphansPerStep = 1000

/** Throws UsageError for a file that is no master's database, or one of a newer version. */
export function readFacts(file: string): BackupFacts {
  const db = openDatabaseReader(file)
  try {
    const stamp = readStamp(db)
    const format = new FormatTable(db)
    return {
      taken: stamp?.taken,
      program: stamp?.program ?? '',
      version: format.version,
      cluster: format.facts.cluster,
      incarnation: format.incarnation,
    }
  } catch (thrown) {
    if (thrown instanceof UsageError) throw thrown
    throw new UsageError(
      `${file} is not a backup: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
      {
        cause: thrown,
      },
    )
  } finally {
    db.close()
  }
}

/**
 * Checks the copy all through and makes it fit to be used; `now` is wall clock, ns. With problems other than of
 * pages it is made fit all the same: the caller decides. It is one file without a log again, not yet synced.
 */
export function restoreDatabase(file: string, now: bigint): RestoredDatabase {
  const facts = readFacts(file)
  const raw = openDatabase(file)
  try {
    removeStamp(raw)
  } finally {
    raw.close()
  }
  using store = Store.open(openDatabase(file))
  const restored = restoreStore(store, facts.taken, now)
  store.db.pragma('journal_mode = DELETE')
  return { facts, ...restored }
}

/** The same for a database that is open and has no stamp. */
export function restoreStore(
  store: Store,
  taken: bigint | undefined,
  now: bigint,
): Omit<RestoredDatabase, 'facts'> {
  const { problems, inodes, blocks } = fsck(store, true)
  const sessions = store.sessions.all()
  const damaged = problems.some(line => line.startsWith('The database is damaged'))
  if (!damaged) beginAnew(store, taken, now)
  return {
    problems,
    damaged,
    inodes,
    blocks,
    nodes: store.nodes.all().length,
    sessionsEnded: sessions.length,
  }
}

function beginAnew(store: Store, taken: bigint | undefined, now: bigint): void {
  const { sessions, replies, inoRanges, nodes, restores } = store
  const backupTime = maximum(taken ?? 0n, maximum(newestTime(store), newestChange(store)))
  // A clock that is behind: time goes on where the backup was.
  const time = maximum(now, backupTime)
  store.transaction(() => {
    const ids = jumpAhead(store, backupTime, time)
    for (const { id } of sessions.all()) {
      sessions.ended(id)
      replies.sessionEnded(id)
      inoRanges.sessionEnded(id)
    }
    restores.began(
      { taken: backupTime, restored: time, byHand: false, ...ids },
      nodes.all().map(({ id }) => id),
    )
  })
  for (const session of new Set(store.orphans.all().map(orphan => orphan.session)))
    while (store.transaction(() => stepOrphansOf(store, session, orphansPerStep, time)));
}

/** What was shown of any file: time must not go back behind it. */
const newestChange = (store: Store): bigint =>
  store.db.prepare<[], bigint | null>('SELECT max(ctime) FROM inodes').safeIntegers().pluck().get() ?? 0n

const maximum = (a: bigint, b: bigint): bigint => (a > b ? a : b)
