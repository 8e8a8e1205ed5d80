import { closeSync, constants, fdatasyncSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs'
import path from 'node:path'
import { randomFillSync } from 'node:crypto'
import { type Group, MiB, type Sizes, smallBytes } from './row.ts'

const pieceBytes = MiB

/** Random, so that neither dedup nor compression helps; the memory is touched before, so that it arrives whole. */
function writeBig(file: string, mib: number): void {
  const data = randomFillSync(Buffer.alloc(pieceBytes))
  const fd = openSync(file, 'w')
  for (let n = 0; n < mib; n++) {
    for (let at = 0; at < pieceBytes; at += 64 * 1024) data.writeUInt32LE(n + 1, at)
    writeSync(fd, data)
  }
  fsyncSync(fd)
  closeSync(fd)
}

function readBig(file: string): number {
  const buffer = Buffer.alloc(pieceBytes)
  const fd = openSync(file, 'r')
  let total = 0
  for (let got = readSync(fd, buffer); got > 0; got = readSync(fd, buffer)) total += got
  closeSync(fd)
  return total / MiB
}

/** Pages here and there, always the same ones: what is read ahead or cached of them is no matter of luck. */
function* somePages(pages: number, count: number): Generator<number> {
  // Numbers of Park and Miller.
  let seed = 20261127
  for (let n = 0; n < count; n++) {
    seed = (seed * 48271) % 2147483647
    yield seed % pages
  }
}

/** One file, large for the caches. */
export function bigGroup({ bigMiB, randoms }: Sizes): Group {
  const pages = (bigMiB * MiB) / smallBytes
  const fileOf = (dir: string) => path.join(dir, 'big')
  return {
    key: 'big',
    rows: [
      {
        key: 'seq-write',
        name: 'sequential write + fsync',
        unit: 'MiB',
        goal: 1.3,
        run: dir => {
          writeBig(fileOf(dir), bigMiB)
          return { units: bigMiB }
        },
      },
      {
        key: 'seq-read',
        name: 'sequential read cold',
        unit: 'MiB',
        cold: true,
        goal: 1.6,
        run: dir => ({ units: readBig(fileOf(dir)) }),
      },
      {
        key: 'random-read',
        waits: true,
        name: 'random read 4 KiB cold',
        unit: 'reads',
        cold: true,
        goal: 2,
        run: dir => {
          const fd = openSync(fileOf(dir), 'r')
          const buffer = Buffer.alloc(smallBytes)
          for (const page of somePages(pages, randoms)) readSync(fd, buffer, 0, smallBytes, smallBytes * page)
          closeSync(fd)
          return { units: randoms }
        },
      },
      {
        key: 'random-write',
        waits: true,
        name: 'random write 4 KiB + fdatasync',
        unit: 'writes',
        goal: 2,
        run: dir => {
          const fd = openSync(fileOf(dir), constants.O_WRONLY)
          const count = Math.ceil(randoms / 10)
          const data = Buffer.alloc(smallBytes)
          for (const page of somePages(pages, count)) {
            randomFillSync(data)
            writeSync(fd, data, 0, smallBytes, smallBytes * page)
            fdatasyncSync(fd)
          }
          closeSync(fd)
          return { units: count }
        },
      },
    ],
  }
}
