/**
 * Puts a backup into a master's folder in place of what is there. At any moment at which this is killed there is
 * either the old database, untouched, or none (and then a master does not start there, and restoring again
 * works), or the restored one.
 */
import { copyFileSync, existsSync, renameSync, rmSync } from 'node:fs'
import path from 'node:path'
import { messageOf, UsageError } from '../core/errors.ts'
import {
  type BackupFacts,
  readFacts,
  restoreDatabase,
  type RestoredDatabase,
} from '../master/backup/restore-database.ts'
import { asidePrefix, MasterFolder } from './master-folder.ts'
import { syncFile, syncFolder } from './sync-folder.ts'

export interface RestoreOptions {
  readonly file: string
  readonly folder: string
  /** Wall clock, ns. */
  readonly now: bigint
  /** Also with problems that fsck finds. */
  readonly force: boolean
}

export interface Restored extends RestoredDatabase {
  /** Where the old database is now; undefined if there was none. */
  readonly aside: string | undefined
  /** False: there were problems, and nothing was changed. */
  readonly done: boolean
}

/** The folder is locked by the caller. */
export function restoreFolder({ file, folder, now, force }: RestoreOptions): Restored {
  const { database } = new MasterFolder(folder)
  const fresh = `${database}.restoring`
  sameCluster(readFacts(file), database, file)
  try {
    removeAll(fresh)
    copyFileSync(file, fresh)
    const restored = restoring(file, () => restoreDatabase(fresh, now))
    if (restored.problems.length > 0 && (!force || restored.damaged))
      return { ...restored, aside: undefined, done: false }
    syncFile(fresh)
    const aside = putAside(database, folder, now)
    renameSync(fresh, database)
    syncFolder(folder)
    return { ...restored, aside, done: true }
  } finally {
    removeAll(fresh)
  }
}

/** UsageError if the database that is there, as far as it can be read, is another cluster's. */
function sameCluster(facts: BackupFacts, database: string, file: string): void {
  if (!existsSync(database)) return
  let there: BackupFacts
  try {
    there = readFacts(database)
  } catch (error) {
    // It is damaged: that is why it is replaced.
    if (error instanceof UsageError) return
    throw error
  }
  if (!there.cluster.equals(facts.cluster))
    throw new UsageError(
      `${file} is of cluster ${facts.cluster.toString('hex')}, ${database} of cluster ${there.cluster.toString('hex')}`,
    )
}

function restoring<T>(file: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw new UsageError(`${file} cannot be restored: ${messageOf(error)}`, { cause: error })
  }
}

/** The database goes before its log, so that it is never opened without it. */
function putAside(database: string, folder: string, now: bigint): string | undefined {
  const stamp = new Date(Number(now / 1_000_000n)).toISOString().replaceAll(/[-:.]/g, '')
  const aside = path.join(folder, `${asidePrefix}${stamp}`)
  const there = ['', '-wal', '-shm'].filter(end => existsSync(`${database}${end}`))
  for (const end of there) renameSync(`${database}${end}`, `${aside}${end}`)
  if (there.length === 0) return undefined
  syncFolder(folder)
  return aside
}

function removeAll(file: string): void {
  for (const end of ['', '-wal', '-shm', '-journal']) rmSync(`${file}${end}`, { force: true })
}
