import Sqlite, { type Database } from 'better-sqlite3'
import { messageOf, UsageError } from '../../core/errors.ts'

/** Holds the whole row of a small block together with its neighbours; small ones are the majority. */
const pageBytes = 8192
/** The write-ahead log is copied back and begun anew beyond this. */
const walPages = 4096

/** An index in memory, for the simulator and tests. */
export function openMemoryIndex(): Database {
  return new Sqlite(':memory:')
}

/** The index for its one writer. The caller holds a lock on the folder. */
export function openIndexWriter(folder: string): Database {
  return attempt(folder, () => {
    const db = new Sqlite(`${folder}/index.sqlite`)
    db.pragma(`page_size = ${pageBytes}`)
    db.pragma('auto_vacuum = INCREMENTAL')
    db.pragma('journal_mode = WAL')
    // FULL syncs the log with every commit: what a put was answered for is on stable storage.
    db.pragma('synchronous = FULL')
    db.pragma(`wal_autocheckpoint = ${walPages}`)
    db.pragma(`journal_size_limit = ${2 * walPages * pageBytes}`)
    db.pragma('cache_size = -8192')
    return db
  })
}

/** A second connection that reads beside the writer. */
export function openIndexReader(folder: string): Database {
  return attempt(folder, () => {
    const db = new Sqlite(`${folder}/index.sqlite`, { readonly: true, fileMustExist: true })
    db.pragma('cache_size = -4096')
    return db
  })
}

/** SQLite found its file wrong. */
export function isDamage(error: unknown): boolean {
  return error instanceof Error && 'code' in error && /^SQLITE_(CORRUPT|NOTADB)/.test(String(error.code))
}

function attempt(folder: string, open: () => Database): Database {
  try {
    return open()
  } catch (error) {
    if (isDamage(error)) throw error
    throw new UsageError(`Cannot open the block index in ${folder}: ${messageOf(error)}`)
  }
}
