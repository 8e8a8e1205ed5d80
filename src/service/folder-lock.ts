import { spawn } from 'node:child_process'
import { closeSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf, UsageError } from '../core/errors.ts'

const lockFile = 'lock'
/** What flock(1) is told to exit with when somebody else has the lock. */
const heldCode = 99

/**
 * Holds a data folder for this process. Two processes on one folder would destroy it.
 *
 * It is a flock(2) on the file `lock` in the folder: the kernel drops it when the process ends, however it
 * ends, and it works across containers that share the folder. Node cannot call flock, but such a lock
 * belongs to the open file, not to who took it: flock(1) takes it on our descriptor, which it inherits, and
 * it stays ours when flock(1) is gone. The descriptor is close-on-exec, so no other child keeps the lock.
 * The file's text is the holder's process id, for people only.
 */
export class FolderLock {
  readonly #fd: number
  #held = true

  private constructor(fd: number) {
    this.#fd = fd
  }

  /** UsageError if the folder is in use, or cannot be used. */
  static async take(folder: string): Promise<FolderLock> {
    const fd = open(folder)
    try {
      const code = await flock(fd)
      if (code === heldCode) throw new UsageError(`${folder} is in use by ${holder(fd)}`)
      if (code !== 0) throw new UsageError(`Cannot lock ${folder}: flock ended with code ${code}`)
      ftruncateSync(fd)
      writeSync(fd, `${process.pid}\n`, 0)
      return new FolderLock(fd)
    } catch (error) {
      closeSync(fd)
      throw error
    }
  }

  release(): void {
    if (!this.#held) return
    this.#held = false
    closeSync(this.#fd)
  }
}

function open(folder: string): number {
  try {
    return openSync(join(folder, lockFile), 'a+', 0o600)
  } catch (error) {
    throw new UsageError(`Cannot use the folder ${folder}: ${messageOf(error)}`)
  }
}

function flock(fd: number): Promise<number | null> {
  return new Promise((resolve, reject) => {
    const args = ['--exclusive', '--nonblock', '--conflict-exit-code', String(heldCode), '3']
    const child = spawn('flock', args, { stdio: ['ignore', 'ignore', 'ignore', fd] })
    child.on('error', error => {
      reject(new UsageError(`Cannot run flock, which comes with util-linux: ${error.message}`))
    })
    child.on('exit', code => resolve(code))
  })
}

function holder(fd: number): string {
  const text = Buffer.alloc(20)
  const pid = text.toString('latin1', 0, readSync(fd, text, 0, text.length, 0)).trim()
  return /^\d+$/.test(pid) ? `process ${pid}` : 'another process'
}
