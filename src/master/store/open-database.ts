import BetterSqlite3, { type Database } from 'better-sqlite3'
import { UsageError, messageOf } from '../../core/errors.ts'

/** Opens the file for reading, beside the one that writes. Throws UsageError. */
export function openDatabaseReader(path: string): Database {
  try {
    return new BetterSqlite3(path, { readonly: true, fileMustExist: true, timeout: 1000 })
  } catch (thrown) {
    throw new UsageError(`Cannot read the master database ${path}: ${messageOf(thrown)}`, { cause: thrown })
  }
}

/** Opens (making it if absent) the file of a master's database. Throws UsageError. */
export function openDatabase(path: string): Database {
  try {
    return new BetterSqlite3(path, { timeout: 0 })
  } catch (thrown) {
    throw new UsageError(`Cannot open the master database ${path}: ${messageOf(thrown)}`, { cause: thrown })
  }
}
