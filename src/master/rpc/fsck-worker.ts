/**
 * A check of the whole database, in a thread of its own beside the engine's: sessions and nodes live on,
 * however long it takes. The path of the database is its data; each item is one check.
 */
import { workerData } from 'node:worker_threads'
import { serveLane } from '../../env/serve-lane.ts'
import { checkDatabase } from './check-database.ts'

const database = workerData as string

serveLane<null, Uint8Array>(() => ({
  run: batch => batch.map(() => checkDatabase(database)),
  close: () => undefined,
}))
