import BetterSqlite3, { type Database } from 'better-sqlite3'
import { UsageError, messageOf } from '../../core/errors.ts'

/** Opens (making it if absent) the file of a master's database. Throws UsageError. */
export function openDatabase(path: string): Database {
  try {
    return new BetterSqlite3(path, { timeout: 0 })
  } catch (thrown) {
    throw new UsageError(`Cannot open the master database ${path}: ${messageOf(thrown)}`, { cause: thrown })
  }
}
