import { closeSync, copyFileSync, existsSync, openSync } from 'node:fs'
import path from 'node:path'
import { UsageError } from '../core/errors.ts'
import { readAt } from '../env/read-at.ts'
import { refuseDamaged, repair, type RepairResult } from '../master/fsck/repair.ts'
import type { ReadWal } from '../master/log/wal-reader.ts'
import { openDatabase } from '../master/store/open-database.ts'
import { Store } from '../master/store/store.ts'
import { MasterFolder } from './master-folder.ts'
import { syncFile, syncFolder } from './sync-folder.ts'

export interface Repaired extends RepairResult {
  /** The database as it was; undefined if nothing was changed. */
  readonly aside: string | undefined
}

/**
 * Repairs the database of a master that does not run (the caller holds the folder), or says what it would do. Throws
 * DatabaseDamagedError, before anything was changed, for one that is damaged.
 */
export function repairFolder(folder: string, now: bigint, keep: boolean): Repaired {
  const { database, restoreWith } = new MasterFolder(folder)
  if (!existsSync(database)) throw new UsageError(`${folder} has no master's database`)
  withLog(`${database}-wal`, log => {
    refuseDamaged(database, log, { restoreWith })
  })
  const rehearsal = withStore(database, restoreWith, store => repair(store, now, false))
  if (!keep || rehearsal.actions.length === 0) return { ...rehearsal, aside: undefined }
  return withStore(database, restoreWith, store => {
    store.db.pragma('wal_checkpoint(TRUNCATE)')
    const stamp = new Date(Number(now / 1_000_000n)).toISOString().replaceAll(/[-:.]/g, '')
    const aside = path.join(folder, `master.db.before-repair-${stamp}`)
    copyFileSync(database, aside)
    syncFile(aside)
    syncFolder(folder)
    return { ...repair(store, now, true), aside }
  })
}

function withStore<T>(database: string, restoreWith: string, use: (store: Store) => T): T {
  using store = Store.open(openDatabase(database), { restoreWith, toRepair: true })
  return use(store)
}

function withLog(file: string, use: (log: ReadWal | undefined) => void): void {
  if (!existsSync(file)) {
    use(undefined)
    return
  }
  const fd = openSync(file, 'r')
  try {
    use((offset, length) => readAt(fd, offset, length))
  } finally {
    closeSync(fd)
  }
}
