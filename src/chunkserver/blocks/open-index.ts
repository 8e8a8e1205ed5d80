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
  const pragmas = [
    `page_size = ${pageBytes}`,
    'auto_vacuum = INCREMENTAL',
    'journal_mode = WAL',
    // FULL syncs the log with every commit: what a put was answered for is on stable storage.
    'synchronous = FULL',
    `wal_autocheckpoint = ${walPages}`,
    `journal_size_limit = ${2 * walPages * pageBytes}`,
    'cache_size = -8192',
  ]
  return attempt(folder, () => withPragmas(new Sqlite(`${folder}/index.sqlite`), pragmas))
}

/** A second connection that reads beside the writer. */
export function openIndexReader(folder: string): Database {
  const options = { readonly: true, fileMustExist: true }
  return attempt(folder, () =>
    withPragmas(new Sqlite(`${folder}/index.sqlite`, options), ['cache_size = -4096']),
  )
}

/** SQLite found its file wrong. */
export function isDamage(error: unknown): boolean {
  return error instanceof Error && 'code' in error && /^SQLITE_(CORRUPT|NOTADB)/.test(String(error.code))
}

/** What cannot be used is closed: its locks would be in the way of who tries again. */
function withPragmas(db: Database, pragmas: readonly string[]): Database {
  try {
    for (const pragma of pragmas) db.pragma(pragma)
    return db
  } catch (error) {
    db.close()
    throw error
  }
}

function attempt(folder: string, open: () => Database): Database {
  try {
    return open()
  } catch (error) {
    if (isDamage(error)) throw error
    throw new UsageError(`Cannot open the block index in ${folder}: ${messageOf(error)}`)
  }
}
