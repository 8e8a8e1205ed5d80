/**
 * Reads the whole database in a process of its own beside the master's: sessions and nodes live on, however long
 * it takes, and its memory goes with it.
 */
import { serveProcess } from '../../env/serve-process.ts'
import { checkDatabase, type CheckingJob, readDatabase, type ReadingJob } from './check-database.ts'

serveProcess(job => {
  const asked = job as ReadingJob | CheckingJob
  return 'copies' in asked ? checkDatabase(asked) : readDatabase(asked.database, asked.reading)
})
