import { closeSync, openSync, readdirSync, readSync, rmSync, statfsSync, statSync } from 'node:fs'
import path from 'node:path'
import { FsError } from '../core/errors.ts'
import { makeFolder } from './make-folder.ts'

/** A copy in the folder; its name says when it was taken. */
export interface StoredBackup {
  readonly name: string
  /** Milliseconds since 1970. */
  readonly takenMs: number
  readonly bytes: number
}

const pattern = /^master-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z\.db$/

/** The local copies of a master's database: files whose names tell their time. Unfinished ones end in `.new`. */
export class BackupFolder {
  readonly path: string

  constructor(folder: string) {
    this.path = folder
  }

  nameOf(takenMs: number): string {
    return `master-${new Date(takenMs).toISOString().replaceAll(/[-:.]/g, '')}.db`
  }

  file(name: string): string {
    if (!pattern.test(name)) throw new FsError('EINVAL', `${name} is not the name of a backup`)
    return path.join(this.path, name)
  }

  /** Makes the folder, and removes what a process that was killed left unfinished. */
  prepare(): void {
    makeFolder(this.path, 0o700)
    for (const name of readdirSync(this.path))
      if (/\.new(-journal|-wal|-shm)?$/.test(name)) rmSync(path.join(this.path, name), { force: true })
  }

  /** Oldest first; none where there is no folder. */
  list(): StoredBackup[] {
    let names: string[]
    try {
      names = readdirSync(this.path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw error
    }
    return names
      .flatMap(name => {
        const [, year, month, day, hour, minute, second, ms] = pattern.exec(name) ?? []
        if (year === undefined) return []
        const takenMs = Date.parse(
          `${year}-${month ?? ''}-${day ?? ''}T${hour ?? ''}:${minute ?? ''}:${second ?? ''}.${ms ?? ''}Z`,
        )
        const size = statSync(path.join(this.path, name), { throwIfNoEntry: false })?.size
        return Number.isNaN(takenMs) || size === undefined ? [] : [{ name, takenMs, bytes: size }]
      })
      .sort((a, b) => a.takenMs - b.takenMs)
  }

  remove(name: string): void {
    rmSync(this.file(name), { force: true })
  }

  /** Bytes that are free on the folder's disk. */
  freeBytes(): number {
    const { bsize, bavail } = statfsSync(this.path)
    return bsize * bavail
  }

  /** Part of a copy; shorter at its end. */
  read(name: string, offset: number, length: number): Uint8Array {
    let fd: number
    try {
      fd = openSync(this.file(name), 'r')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw new FsError('ENOENT', `${name} is gone`)
      throw error
    }
    try {
      const bytes = new Uint8Array(length)
      return bytes.subarray(0, readSync(fd, bytes, 0, length, offset))
    } finally {
      closeSync(fd)
    }
  }
}
