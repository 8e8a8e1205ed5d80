import { closeSync, fsyncSync, openSync } from 'node:fs'

/** The names in a folder are on the disk when this returns. */
export function syncFolder(folder: string): void {
  sync(folder, 'r')
}

/** A file's bytes are on the disk when this returns. */
export function syncFile(file: string): void {
  sync(file, 'r+')
}

function sync(name: string, flags: string): void {
  const fd = openSync(name, flags)
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
