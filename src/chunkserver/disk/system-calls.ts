import { close, fdatasync, fstat, ftruncate, open, read, write } from 'node:fs'
import { promisify } from 'node:util'
import { FsError } from '../../core/errors.ts'

// Plain descriptors: a FileHandle costs several objects and a registration for collection at each open.
export const openFile = promisify(open)
export const closeFile = promisify(close)
export const datasyncFile = promisify(fdatasync)
export const statFile = promisify(fstat)
export const truncateFile = promisify(ftruncate)

/** System errors as the one vocabulary of failure, with the system's text, which names call and path. */
export async function answer<T>(call: Promise<T>): Promise<T> {
  try {
    return await call
  } catch (error) {
    throw FsError.from(error)
  }
}

/** Writes all of `data`. */
export async function writeAll(fd: number, data: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < data.length; ) {
    const written = await answer(writeAt(fd, data, at, position + at))
    if (written === 0) throw new FsError('EIO', 'Cannot append to a file: nothing was written')
    at += written
  }
}

/**
 * Reads until `buffer` is full or the file ends, which a count that is no multiple of `unit` shows, too;
 * returns how much there is.
 */
export async function readAll(fd: number, buffer: Buffer, position: number, unit = 1): Promise<number> {
  let filled = 0
  while (filled < buffer.length) {
    const count = await answer(readAt(fd, buffer, filled, position + filled))
    filled += count
    if (count === 0 || filled % unit !== 0) break
  }
  return filled
}

function writeAt(fd: number, data: Uint8Array, from: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(fd, data, from, data.length - from, position, (error, count) =>
      error === null ? resolve(count) : reject(error),
    )
  })
}

function readAt(fd: number, buffer: Buffer, from: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    read(fd, buffer, from, buffer.length - from, position, (error, count) =>
      error === null ? resolve(count) : reject(error),
    )
  })
}
