import { createRequire } from 'node:module'
import type Sqlite from 'better-sqlite3'
import type { Database } from 'better-sqlite3'
import { messageOf, UsageError } from '../../core/errors.ts'

// CommonJS, and only needed by whoever opens a real index.
const load = (): typeof Sqlite => createRequire(import.meta.url)('better-sqlite3') as typeof Sqlite

/** Holds the whole row of a small block together with its neighbours; small ones are the majority. */
const pageBytes = 8192
const walPages = 4096

/** An open database, with what must live as long as it does. */
export interface OpenIndex {
  readonly db: Database
  close(): void
}

/** An index in memory, for the simulator and tests. */
export function openMemoryIndex(): Database {
  return new (load())(':memory:')
}

/** The index for its one writer, and the lock of the folder, which lives as long as the process. */
export function openIndexWriter(folder: string): OpenIndex {
  const lock = lockFolder(folder)
  const db = attempt(folder, () => {
    const db = new (load())(`${folder}/index.sqlite`)
    db.pragma(`page_size = ${pageBytes}`)
    db.pragma('auto_vacuum = INCREMENTAL')
    db.pragma('journal_mode = WAL')
    // FULL syncs the log with every commit: what a put was answered for is on stable storage.
    db.pragma('synchronous = FULL')
    db.pragma(`wal_autocheckpoint = ${walPages}`)
    db.pragma(`journal_size_limit = ${2 * walPages * pageBytes}`)
    db.pragma('cache_size = -16384')
    return db
  })
  return {
    db,
    close: () => {
      db.close()
      lock.close()
    },
  }
}

/** A second connection that reads beside the writer. */
export function openIndexReader(folder: string): OpenIndex {
  const db = attempt(folder, () => {
    const db = new (load())(`${folder}/index.sqlite`, { readonly: true, fileMustExist: true })
    db.pragma('cache_size = -8192')
    return db
  })
  return { db, close: () => db.close() }
}

/**
 * Two processes over one folder would destroy it. The lock is an open transaction of a database of its
 * own: the kernel drops it with the process, however that ends.
 */
function lockFolder(folder: string): Database {
  try {
    const lock = new (load())(`${folder}/lock.sqlite`, { timeout: 0 })
    lock.pragma('locking_mode = EXCLUSIVE')
    lock.exec('BEGIN EXCLUSIVE')
    return lock
  } catch (error) {
    const busy = error instanceof Error && 'code' in error && String(error.code).startsWith('SQLITE_BUSY')
    throw new UsageError(
      busy ? `Cannot open ${folder}: in use by another process` : `Cannot lock ${folder}: ${messageOf(error)}`,
    )
  }
}

function attempt(folder: string, open: () => Database): Database {
  try {
    return open()
  } catch (error) {
    throw new UsageError(`Cannot open the block index in ${folder}: ${messageOf(error)}`)
  }
}
