import { fsck } from '../fsck/fsck.ts'
import type { BackupStamp } from '../store/backup-stamp.ts'
import { writeStamp } from '../store/backup-stamp.ts'
import { copyDatabase } from '../store/copy-database.ts'
import { openDatabase, openDatabaseReader } from '../store/open-database.ts'
import { isDamage, Store } from '../store/store.ts'
import { UsageError } from '../../core/errors.ts'

/** What was found in a copy that is whole. */
export interface CheckedCopy {
  readonly problems: readonly string[]
  readonly incarnation: bigint
  readonly version: number
  readonly cluster: Buffer
  readonly inodes: bigint
}

/**
 * Copies the database of a master at work into a new file, as of one moment, and checks the copy. The copy is one
 * file without a log beside it; that it is on the disk is the caller's care. Throws UsageError if its pages are
 * damaged: then the database's own are.
 */
export async function copyAndCheck(database: string, file: string, stamp: BackupStamp): Promise<CheckedCopy> {
  const source = openDatabaseReader(database)
  try {
    await copyDatabase(source, file)
  } finally {
    source.close()
  }
  stampDatabase(file, stamp)
  return checkCopy(file)
}

/** Makes a backup of what is page for page a master's database. Throws UsageError for what is none. */
export function stampDatabase(file: string, stamp: BackupStamp): void {
  const copy = openDatabase(file)
  try {
    copy.pragma('journal_mode = DELETE')
    copy.pragma('synchronous = OFF')
    writeStamp(copy, stamp)
  } catch (thrown) {
    if (isDamage(thrown))
      throw new UsageError(`The database is damaged: ${thrown.message}`, { cause: thrown })
    throw thrown
  } finally {
    copy.close()
  }
}

/** Checks a backup's pages and every invariant. */
export function checkCopy(file: string, thorough = false): CheckedCopy {
  try {
    using store = Store.snapshot(openDatabaseReader(file))
    const { problems, inodes } = fsck(store, thorough)
    const pages = problems.find(line => line.startsWith('The database is damaged'))
    if (pages !== undefined) throw new UsageError(pages)
    const { facts, incarnation, version } = store.format
    return { problems, incarnation, version, cluster: facts.cluster, inodes }
  } catch (thrown) {
    if (isDamage(thrown))
      throw new UsageError(`The database is damaged: ${thrown.message}`, { cause: thrown })
    throw thrown
  }
}
