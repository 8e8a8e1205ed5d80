/**
 * Sets the wanted number of copies of a file or directory, and with `recursive` of all below it, in
 * steps. In memory only: after a restart of the master the caller asks again.
 */
import { noDedupDomain } from '../../core/checksum.ts'
import { isDirectory } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import { type Ino, type SessionId, sessionId } from '../../core/ids.ts'
import { SetCopiesReply } from '../../wire/gen/cairn/v1/admin.ts'
import type { Turn } from '../engine/turn.ts'
import { executeCommand } from '../namespace/execute-command.ts'

/** The master itself: no mount has session 0. */
const nobody: SessionId = sessionId(0n)

interface Job {
  readonly call: number
  readonly copies: number
  readonly recursive: boolean
  changed: bigint
  /** Directories whose entries after the cookie are still to be done. */
  readonly directories: { readonly ino: Ino; after: bigint }[]
}

export class SetCopies {
  readonly #turn: Turn
  readonly #jobs: Job[] = []

  constructor(turn: Turn) {
    this.#turn = turn
  }

  begin(call: number, ino: Ino, copies: number, recursive: boolean): void {
    if (this.#turn.store.inodes.find(ino) === undefined)
      throw new FsError('ENOENT', `There is no inode ${ino}`)
    const job: Job = { call, copies, recursive, changed: 0n, directories: [] }
    this.#change(job, ino)
    this.#jobs.push(job)
  }

  /** One step of about `budget` rows. True if there is more to do now. */
  step(budget: number): boolean {
    let left = budget
    while (left > 0) {
      const [job] = this.#jobs
      if (job === undefined) return false
      const directory = job.directories.at(-1)
      if (directory === undefined) {
        this.#jobs.shift()
        this.#turn.out.answer(job.call, SetCopiesReply.encode({ changed: job.changed }).finish())
        continue
      }
      left -= this.#stepDirectory(job, directory, Math.min(left, 500))
    }
    return true
  }

  #stepDirectory(job: Job, directory: { readonly ino: Ino; after: bigint }, limit: number): number {
    const entries = this.#turn.store.dirents.list(directory.ino, directory.after, limit)
    const last = entries.at(-1)
    if (last === undefined || entries.length < limit)
      job.directories.splice(job.directories.indexOf(directory), 1)
    else directory.after = last.cookie
    for (const { ino } of entries) this.#change(job, ino)
    return entries.length + 1
  }

  #change(job: Job, ino: Ino): void {
    const { store, time } = this.#turn
    const inode = store.inodes.find(ino)
    if (inode === undefined) return
    if (job.recursive && isDirectory(inode.mode)) job.directories.push({ ino, after: 0n })
    if (inode.copies === job.copies) return
    store.savepoint(() =>
      executeCommand(
        store,
        {
          $case: 'setAttr',
          value: {
            ino,
            atime: undefined,
            mtime: undefined,
            ctime: undefined,
            killSuidgid: false,
            time,
            copies: job.copies,
          },
        },
        {
          session: nobody,
          time,
          dedupDomain: noDedupDomain,
          verify: () => 'again',
          openIn: () => [],
          mayHold: () => true,
          hasSpace: () => true,
        },
      ),
    )
    job.changed += 1n
  }
}
