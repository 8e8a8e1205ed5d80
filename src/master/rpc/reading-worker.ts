/**
 * Reads the whole database in a process of its own beside the master's: sessions and nodes live on, however long
 * it takes, and its memory goes with it.
 */
import { serveProcess } from '../../env/serve-process.ts'
import { readDatabase, type ReadingJob } from './check-database.ts'

serveProcess(job => {
  const { database, reading } = job as ReadingJob
  return readDatabase(database, reading)
})
