/**
 * Takes one backup in a process of its own beside the master's: sessions and nodes live on, however long it takes, and
 * its memory goes with it. BackupJob is the job; the result says what the copy is. A copy has its name only when it is
 * whole, checked and on the disk.
 */
import { createHash } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readSync, renameSync, rmSync, statSync } from 'node:fs'
import path from 'node:path'
import { MiB } from '../../core/units.ts'
import { serveProcess } from '../../env/serve-process.ts'
import { copyAndCheck } from './take-backup.ts'
import type { BackupJob, TakenBackup } from './backups.ts'

serveProcess(job => take(job as BackupJob))

async function take({ database, file, stamp }: BackupJob): Promise<TakenBackup> {
  const partial = `${file}.new`
  try {
    rmSync(partial, { force: true })
    const checked = await copyAndCheck(database, partial, stamp)
    const sha256 = syncAndHash(partial)
    const bytes = statSync(partial).size
    renameSync(partial, file)
    syncFolder(path.dirname(file))
    return { ...checked, bytes, sha256 }
  } finally {
    for (const rest of ['', '-journal', '-wal', '-shm']) rmSync(`${partial}${rest}`, { force: true })
  }
}

function syncAndHash(file: string): Buffer {
  const fd = openSync(file, 'r+')
  try {
    fsyncSync(fd)
    const hash = createHash('sha256')
    const piece = Buffer.alloc(MiB)
    for (let length = 1; length > 0; ) {
      length = readSync(fd, piece)
      hash.update(piece.subarray(0, length))
    }
    return hash.digest()
  } finally {
    closeSync(fd)
  }
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
