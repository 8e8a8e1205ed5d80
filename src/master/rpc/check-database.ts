import { FsckReply } from '../../wire/gen/cairn/v1/admin.ts'
import { fsck } from '../fsck/fsck.ts'
import { openDatabaseReader } from '../store/open-database.ts'
import { Store } from '../store/store.ts'

/**
 * Checks the database of a master at work, by a connection of its own: an encoded FsckReply. All of it sees
 * the one commit that was the last when it began.
 */
export function checkDatabase(database: string): Uint8Array {
  using store = Store.snapshot(openDatabaseReader(database))
  return FsckReply.encode(fsck(store)).finish()
}
