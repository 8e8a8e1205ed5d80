import { close, open, read, rmSync, statfsSync, statSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { FsError } from '../core/errors.ts'
import type { BaseFile } from '../master/log/base.ts'
import type { BaseJob, TakenBase } from '../master/log/base-worker.ts'

const openFile = promisify(open)
const readFile = promisify(read)
const closeFile = promisify(close)

/** The copy goes nowhere near the last bytes of the disk. */
const roomPart = 2

/** A copy of the database beside it, for the log on the chunkservers: it goes when it was sent. */
export async function takeBase(
  database: string,
  run: (job: BaseJob) => Promise<TakenBase>,
): Promise<BaseFile> {
  const file = `${database}.base`
  rmSync(file, { force: true })
  const { bsize, bavail } = statfsSync(path.dirname(file))
  const coming = statSync(database).size
  if (coming > (bsize * bavail) / roomPart)
    throw new FsError('ENOSPC', `no room for a copy of ${String(coming)} bytes beside the database`)
  const { bytes, sha256 } = await run({ database, file })
  const fd = await openFile(file, 'r')
  // Nobody else needs its name, and after a crash nothing is left of it.
  rmSync(file, { force: true })
  let reading = 0
  let over = false
  const done = (): void => {
    if (over && reading === 0) void closeFile(fd)
  }
  return {
    bytes,
    sha256,
    async read(offset, length) {
      reading++
      try {
        const piece = Buffer.allocUnsafeSlow(length)
        const { bytesRead } = await readFile(fd, piece, 0, length, offset)
        if (bytesRead !== length) throw new FsError('EIO', 'the copy of the database is too short')
        return piece
      } finally {
        reading--
        done()
      }
    },
    release() {
      over = true
      done()
    },
  }
}
