/**
 * Copies the database for the log on the chunkservers in a process of its own beside the master's: sessions and
 * nodes live on, however long it takes, and its memory goes with it. A BaseJob is the job; the result says what the
 * copy is. It is page for page the database, and not synced: it is read once, and made again after a crash.
 */
import { createHash } from 'node:crypto'
import { closeSync, openSync, readSync, rmSync } from 'node:fs'
import { MiB } from '../../core/units.ts'
import { serveProcess } from '../../env/serve-process.ts'
import { copyDatabase } from '../store/copy-database.ts'
import { openDatabaseReader } from '../store/open-database.ts'

export interface BaseJob {
  readonly database: string
  readonly file: string
}

export interface TakenBase {
  readonly bytes: number
  readonly sha256: Buffer
}

serveProcess(job => take(job as BaseJob))

async function take({ database, file }: BaseJob): Promise<TakenBase> {
  for (const end of ['', '-journal', '-wal', '-shm']) rmSync(`${file}${end}`, { force: true })
  const source = openDatabaseReader(database)
  try {
    await copyDatabase(source, file)
  } finally {
    source.close()
  }
  const fd = openSync(file, 'r')
  try {
    const hash = createHash('sha256')
    const piece = Buffer.alloc(MiB)
    let bytes = 0
    for (let length = 1; length > 0; bytes += length) {
      length = readSync(fd, piece)
      hash.update(piece.subarray(0, length))
    }
    return { bytes, sha256: hash.digest() }
  } finally {
    closeSync(fd)
  }
}
