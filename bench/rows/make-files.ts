import { closeSync, fsyncSync, mkdirSync, openSync, writeSync } from 'node:fs'
import path from 'node:path'
import { randomFillSync } from 'node:crypto'
import { smallBytes } from './row.ts'

/** Files of random bytes: create, write, perhaps fsync, close. */
export function makeFiles(dir: string, count: number, sync: boolean): void {
  mkdirSync(dir, { recursive: true })
  const data = Buffer.alloc(smallBytes)
  for (let n = 0; n < count; n++) {
    randomFillSync(data)
    const fd = openSync(path.join(dir, `f${String(n)}`), 'wx')
    writeSync(fd, data)
    if (sync) fsyncSync(fd)
    closeSync(fd)
  }
}
