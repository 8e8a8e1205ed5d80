import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { z } from 'zod'
import type { SessionKey } from '../../client/session/hello.ts'
import { day } from '../../core/units.ts'
import { FolderLock } from '../../service/folder-lock.ts'
import { makeFolder } from '../../service/make-folder.ts'

const hex = z.string().regex(/^([0-9a-f]{2})*$/)
const schema = z.strictObject({
  /** This machine: a folder shared between machines proves nothing of a process on another one. */
  host: z.string(),
  cluster: hex,
  session: z.string().regex(/^\d{1,20}$/),
  epoch: z.string().regex(/^\d{1,20}$/),
  secret: hex,
})

const recordFile = 'session.json'
/** What is left of mounts whose cluster was never mounted again goes after so long. */
const keptMs = 30 * day

/**
 * The sessions of this machine's mount processes, each in a folder that its process holds locked, so that
 * the next mount can tell the master which of them are dead: what they held is then free at once, and not
 * when their leases run out.
 *
 * The lock is the proof (see FolderLock): the kernel drops it when the process has ended, not before, be it
 * stopped, in another container or swapped out; a reboot drops it, too. A record is written only under the
 * lock, so one that can be locked is of a process that is gone. The secret in it is what the master asks for.
 * Nothing here is needed: without a record the master waits for the lease to run out.
 */
export class SessionRecords {
  readonly #root: string
  readonly #host: string
  readonly #own: string
  readonly #lock: FolderLock

  private constructor(root: string, host: string, own: string, lock: FolderLock) {
    this.#root = root
    this.#host = host
    this.#own = own
    this.#lock = lock
  }

  /** Makes this process's folder. */
  static async open(host: string, root: string = defaultRoot()): Promise<SessionRecords> {
    makeFolder(root, 0o700)
    const own = mkdtempSync(path.join(root, 'mount-'))
    return new SessionRecords(root, host, own, await FolderLock.take(own))
  }

  /** Writes down the session that this process has now. */
  note({ cluster, session, epoch, secret }: SessionKey): void {
    const record: z.infer<typeof schema> = {
      host: this.#host,
      cluster: Buffer.from(cluster).toString('hex'),
      session: String(session),
      epoch: String(epoch),
      secret: Buffer.from(secret).toString('hex'),
    }
    const file = path.join(this.#own, recordFile)
    writeFileSync(`${file}.new`, JSON.stringify(record), { mode: 0o600 })
    renameSync(`${file}.new`, file)
  }

  /**
   * Calls `end` with each session of a cluster whose process is dead, one after the other, and forgets it when
   * that succeeded.
   */
  async endDead(cluster: Uint8Array, end: (dead: SessionKey) => Promise<unknown>): Promise<void> {
    for (const name of readdirSync(this.#root)) {
      const folder = path.join(this.#root, name)
      if (folder === this.#own) continue
      const key = readRecord(path.join(folder, recordFile), this.#host)
      const ours = key !== undefined && Buffer.compare(key.cluster, cluster) === 0
      if (!ours && !isOld(folder)) continue
      const lock = await lockIfDead(folder)
      if (lock === undefined) continue
      try {
        // Read again: it may have been written between the first look and the death.
        const last = readRecord(path.join(folder, recordFile), this.#host)
        if (ours && last !== undefined) await end(last)
        rmSync(folder, { recursive: true, force: true })
      } finally {
        lock.release()
      }
    }
  }

  /** The session was ended in order. */
  close(): void {
    rmSync(this.#own, { recursive: true, force: true })
    this.#lock.release()
  }
}

async function lockIfDead(folder: string): Promise<FolderLock | undefined> {
  try {
    return await FolderLock.take(folder)
  } catch {
    // Its process lives, another mount is looking at it, or it has just been removed.
    return undefined
  }
}

/** Undefined where there is none of this machine, or a power cut left something else. */
function readRecord(file: string, here: string): SessionKey | undefined {
  try {
    const { host, cluster, session, epoch, secret } = schema.parse(JSON.parse(readFileSync(file, 'utf8')))
    if (host !== here) return undefined
    return {
      cluster: Buffer.from(cluster, 'hex'),
      session: BigInt(session),
      epoch: BigInt(epoch),
      secret: Buffer.from(secret, 'hex'),
    }
  } catch {
    return undefined
  }
}

function isOld(folder: string): boolean {
  const { mtimeMs } = statSync(folder, { throwIfNoEntry: false }) ?? { mtimeMs: Number.POSITIVE_INFINITY }
  return Date.now() - mtimeMs > keptMs
}

function defaultRoot(): string {
  if (process.getuid?.() === 0) return '/var/lib/cairn/sessions'
  const state = process.env['XDG_STATE_HOME'] ?? path.join(os.homedir(), '.local', 'state')
  return path.join(state, 'cairn', 'sessions')
}
