/**
 * Reads the whole database in a thread of its own beside the engine's: sessions and nodes live on, however long
 * it takes. The path of the database is its data.
 */
import { workerData } from 'node:worker_threads'
import { serveLane } from '../../env/serve-lane.ts'
import { readDatabase, type Reading } from './check-database.ts'

const database = workerData as string

serveLane<Reading, Uint8Array>(() => ({
  run: batch => batch.map(reading => readDatabase(database, reading)),
  close: () => undefined,
}))
