import {
  closeSync,
  constants,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import path from 'node:path'
import { randomFillSync } from 'node:crypto'

/** One row of the table: the same work, by the same code, on any folder. Returns units of work done. */
export interface Workload {
  readonly name: string
  readonly unit: string
  /** Caches are dropped between `prepare` and `run`. */
  readonly cold?: boolean
  readonly prepare?: (dir: string) => void
  readonly run: (dir: string) => number
}

const MiB = 1 << 20
const fileBytes = 4096

export interface Sizes {
  readonly files: number
  readonly bigMiB: number
}

function makeFiles(dir: string, count: number, sync: boolean): number {
  mkdirSync(dir, { recursive: true })
  const data = Buffer.alloc(fileBytes)
  for (let n = 0; n < count; n++) {
    randomFillSync(data, 0, 64)
    const fd = openSync(path.join(dir, `f${String(n)}`), 'w')
    writeSync(fd, data)
    if (sync) fsyncSync(fd)
    closeSync(fd)
  }
  return count
}

function writeBig(file: string, mib: number): number {
  // Random, so that neither dedup nor compression helps; touched before, so that it arrives whole.
  const data = randomFillSync(Buffer.alloc(MiB))
  const fd = openSync(file, 'w')
  for (let n = 0; n < mib; n++) {
    data.writeUInt32LE(n, 0)
    for (let at = 65536; at < MiB; at += 65536) data.writeDoubleLE(Math.random(), at)
    writeSync(fd, data)
  }
  fsyncSync(fd)
  closeSync(fd)
  return mib
}

function readBig(file: string): number {
  const buffer = Buffer.alloc(MiB)
  const fd = openSync(file, 'r')
  let total = 0
  for (let got = readSync(fd, buffer); got > 0; got = readSync(fd, buffer)) total += got
  closeSync(fd)
  return total / MiB
}

export const workloads = ({ files, bigMiB }: Sizes): readonly Workload[] => [
  {
    name: 'sequential write + fsync',
    unit: 'MiB/s',
    run: dir => writeBig(path.join(dir, 'big'), bigMiB),
  },
  { name: 'sequential read cold', unit: 'MiB/s', cold: true, run: dir => readBig(path.join(dir, 'big')) },
  {
    name: 'random read 4 KiB cold',
    unit: 'op/s',
    cold: true,
    run: dir => {
      const fd = openSync(path.join(dir, 'big'), 'r')
      const buffer = Buffer.alloc(fileBytes)
      const count = 2000
      for (let n = 0; n < count; n++)
        readSync(
          fd,
          buffer,
          0,
          fileBytes,
          fileBytes * Math.floor(Math.random() * ((bigMiB * MiB) / fileBytes)),
        )
      closeSync(fd)
      return count
    },
  },
  {
    name: 'random write 4 KiB + fdatasync',
    unit: 'op/s',
    run: dir => {
      const fd = openSync(path.join(dir, 'big'), constants.O_WRONLY | constants.O_DSYNC)
      const data = Buffer.alloc(fileBytes)
      const count = 300
      for (let n = 0; n < count; n++) {
        randomFillSync(data, 0, 64)
        writeSync(
          fd,
          data,
          0,
          fileBytes,
          fileBytes * Math.floor(Math.random() * ((bigMiB * MiB) / fileBytes)),
        )
      }
      closeSync(fd)
      return count
    },
  },
  {
    name: 'create + write + close 4 KiB',
    unit: 'files/s',
    run: dir => makeFiles(path.join(dir, 'small'), files, false),
  },
  {
    name: 'create + write + fsync + close 4 KiB',
    unit: 'files/s',
    run: dir => makeFiles(path.join(dir, 'synced'), Math.ceil(files / 10), true),
  },
  {
    name: 'readdir + stat cold',
    unit: 'entries/s',
    cold: true,
    run: dir => {
      const names = readdirSync(path.join(dir, 'small'))
      for (const name of names) statSync(path.join(dir, 'small', name))
      return names.length
    },
  },
  {
    name: 'open + read + close cold',
    unit: 'files/s',
    cold: true,
    run: dir => {
      const names = readdirSync(path.join(dir, 'small'))
      for (const name of names) readFileSync(path.join(dir, 'small', name))
      return names.length
    },
  },
  {
    name: 'rename',
    unit: 'op/s',
    run: dir => {
      const names = readdirSync(path.join(dir, 'small'))
      for (const name of names)
        renameSync(path.join(dir, 'small', name), path.join(dir, 'small', `r-${name}`))
      return names.length
    },
  },
  {
    name: 'unlink',
    unit: 'files/s',
    run: dir => {
      const names = readdirSync(path.join(dir, 'small'))
      for (const name of names) unlinkSync(path.join(dir, 'small', name))
      return names.length
    },
  },
]

export function clean(dir: string): void {
  for (const name of readdirSync(dir)) rmSync(path.join(dir, name), { recursive: true, force: true })
}
