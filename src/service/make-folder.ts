import { mkdirSync, statSync } from 'node:fs'
import path from 'node:path'
import { UsageError } from '../core/errors.ts'

/**
 * Makes a folder and what is missing above it. UsageError says which folder cannot be used and why. Node's own
 * recursive mkdir spins for ever where a folder that exists cannot have entries and says ENOENT, as /proc does.
 */
export function makeFolder(folder: string, mode = 0o755): void {
  const absolute = path.resolve(folder)
  try {
    make(absolute, mode)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
    throw new UsageError(`cannot use the folder ${absolute}: ${reasons[code] ?? code}`, { cause: error })
  }
}

function make(folder: string, mode: number): void {
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true) return
  const parent = path.dirname(folder)
  if (parent !== folder) make(parent, mode)
  try {
    mkdirSync(folder, { mode })
  } catch (error) {
    // Another process that starts at the same time may have made it.
    if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) throw error
  }
}

const reasons: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'not permitted',
  ENOENT: 'it cannot be made there',
  ENOTDIR: 'something on the way is not a folder',
  EEXIST: 'there is a file of that name',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the file system is full',
}
