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

/**
 * Why the index that is in a folder, which nobody has open, cannot be used; undefined if it can. All of it is read. `proof`: what the
 * folder says whose it is, see proof.ts; undefined where it does not.
 */
export function indexDamage(folder: string, proof: string | undefined): string | undefined {
  try {
    const db = openIndexReader(folder)
    try {
      const tables = Number(db.prepare('SELECT count(*) FROM sqlite_schema').pluck().get())
      // What a first start that was killed has left: a fresh one is made there.
      if (tables === 0) return 'it is empty'
      const found = String(db.pragma('quick_check(1)', { simple: true })).replaceAll(/\s+/g, ' ')
      if (found !== 'ok') return found
      const store = db.prepare<[], Buffer>('SELECT store FROM store').pluck().get()
      // A start that refused to go on without an index has left an empty one, too.
      if (proof !== undefined && proof !== store?.toString('hex'))
        return 'it is that of another store than its files'
      return undefined
    } finally {
      db.close()
    }
  } catch (error) {
    // Unreadable sectors, and a table that is gone, are as bad here.
    if (isDamage(error) || isUnreadable(error)) return messageOf(error)
    throw error
  }
}

const isUnreadable = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && /^SQLITE_(IOERR|ERROR)/.test(String(error.code))

/** The cluster of an index that may be damaged; undefined where that cannot be read any more, or it has none. */
export function clusterOfIndex(folder: string): Buffer | undefined {
  try {
    const db = openIndexReader(folder)
    try {
      const cluster = db.prepare<[], Buffer>('SELECT cluster FROM store').pluck().get()
      return cluster !== undefined && cluster.length > 0 ? cluster : undefined
    } finally {
      db.close()
    }
  } catch {
    return undefined
  }
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
