/**
 * Copies of the database beside it, taken every so often by itself and whenever one is asked for. The newest one
 * is what restores a damaged database; nothing here is needed for serving.
 *
 * Copies never fill the disk: they take half of the room besides the database at most, and when the disk is full
 * all but the newest are given up.
 */
import type { Env, Timer } from '../../core/env.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import { MiB, minute, nsPerMs } from '../../core/units.ts'
import { decodeWhole } from '../../wire/codec.ts'
import {
  BackupReply,
  BackupRequest,
  ReadBackupReply,
  ReadBackupRequest,
} from '../../wire/gen/cairn/v1/admin.ts'
import { fileOffset, text, u32 } from '../../wire/validate.ts'
import type { BackupState } from './backup-state.ts'
import type { BackupStamp } from '../store/backup-stamp.ts'
import { fits, type Keep, planRotation, type KeptCopy } from './plan-rotation.ts'
import type { CheckedCopy } from './take-backup.ts'

export interface BackupJob {
  readonly database: string
  readonly file: string
  readonly stamp: BackupStamp
}

export interface TakenBackup extends CheckedCopy {
  readonly bytes: number
  readonly sha256: Buffer
}

/** Where the copies are. */
export interface CopyFolder {
  list(): readonly KeptCopy[]
  nameOf(takenMs: number): string
  file(name: string): string
  remove(name: string): void
  freeBytes(): number
  read(name: string, offset: number, length: number): Uint8Array
}

export interface BackupOptions {
  readonly database: string
  /** Bytes of the database and its log. */
  readonly databaseBytes: () => number
  readonly folder: CopyFolder
  /** Copies, checks and syncs, elsewhere. */
  readonly take: (job: BackupJob) => Promise<TakenBackup>
  /** Version of the program. */
  readonly program: string
  /** Milliseconds between two copies; 0: none by itself. */
  readonly everyMs: number
  readonly keep: Keep
  readonly diskFull: () => boolean
  /** Hears of every change. */
  readonly changed: (state: BackupState) => void
}

/** After a start, so that it is not slowed down. */
const firstMs = 1 * minute
const lookMs = 1 * minute
const readBytesMax = 2 * MiB

export class Backups {
  readonly #env: Env
  readonly #options: BackupOptions
  #timer: Timer | undefined
  #closed = false
  #last: Promise<unknown> = Promise.resolve()
  #dueMs: number
  #failing = ''
  #problems = 0

  constructor(env: Env, options: BackupOptions) {
    this.#env = env
    this.#options = options
    this.#dueMs = this.#firstDueMs()
    this.#wait(Math.min(lookMs, this.#dueMs - env.clock.now()))
  }

  get state(): BackupState {
    const { folder, everyMs } = this.#options
    const copies = folder.list()
    const newest = copies.at(-1)
    return {
      everyMs,
      taken: newest === undefined ? 0n : BigInt(newest.takenMs) * nsPerMs,
      bytes: newest?.bytes ?? 0,
      count: copies.length,
      allBytes: copies.reduce((sum, { bytes }) => sum + bytes, 0),
      failing: this.#failing,
      problems: this.#problems,
    }
  }

  /** No more copies are begun. */
  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  /** An encoded BackupRequest: takes a copy now. */
  async backup(request: Uint8Array): Promise<Uint8Array> {
    decodeWhole(BackupRequest, 'BackupRequest', request)
    const { name, taken } = await this.#inTurn(() => this.#take())
    return BackupReply.encode({
      name,
      bytes: BigInt(taken.bytes),
      sha256: taken.sha256,
      taken: taken.stamp.taken,
      version: taken.version,
      cluster: taken.cluster,
      incarnation: taken.incarnation,
      inodes: taken.inodes,
      problems: [...taken.problems],
    }).finish()
  }

  /** An encoded ReadBackupRequest: bytes of a copy. */
  async read(request: Uint8Array): Promise<Uint8Array> {
    const wire = decodeWhole(ReadBackupRequest, 'ReadBackupRequest', request)
    const length = u32(wire.length, 'length', readBytesMax, 1)
    const data = this.#options.folder.read(text(wire.name, 'name'), fileOffset(wire.offset), length)
    return ReadBackupReply.encode({ data }).finish()
  }

  #wallMs(): number {
    return Number(this.#env.clock.wall() / nsPerMs)
  }

  /** Soon after the start, unless there is a copy that is young enough. */
  #firstDueMs(): number {
    const { folder, everyMs } = this.#options
    if (everyMs === 0) return Number.POSITIVE_INFINITY
    const newest = folder.list().at(-1)
    const ageMs = newest === undefined ? everyMs : this.#wallMs() - newest.takenMs
    // A clock that was set back must not keep copies from being taken.
    const restMs = ageMs < 0 ? 0 : everyMs - ageMs
    return this.#env.clock.now() + Math.max(Math.min(firstMs, everyMs), restMs)
  }

  #wait(ms: number): void {
    if (this.#closed) return
    this.#timer = this.#env.timers.after(ms, () => void this.#look())
  }

  async #look(): Promise<void> {
    const { everyMs, diskFull } = this.#options
    if (diskFull()) this.#giveUpOld()
    if (this.#env.clock.now() >= this.#dueMs) {
      this.#dueMs = this.#env.clock.now() + everyMs
      // What went wrong is in the log and in the state.
      await this.#inTurn(() => this.#take()).catch(() => undefined)
    }
    this.#wait(Math.max(0, Math.min(lookMs, this.#dueMs - this.#env.clock.now())))
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work)
    this.#last = result.catch(() => undefined)
    return result
  }

  async #take(): Promise<{
    readonly name: string
    readonly taken: TakenBackup & { readonly stamp: BackupStamp }
  }> {
    const { folder, keep, program, database, databaseBytes } = this.#options
    if (this.#closed) throw new FsError('ECANCELED', 'The master is stopping')
    const takenMs = this.#wallMs()
    const name = folder.nameOf(takenMs)
    const stamp = { taken: BigInt(takenMs) * nsPerMs, program }
    const began = this.#env.clock.now()
    try {
      const coming = databaseBytes()
      const copies = folder.list()
      if (!fits(copies, folder.freeBytes(), coming))
        throw new FsError(
          'ENOSPC',
          `no room for a copy of ${coming} bytes: ${folder.freeBytes()} bytes are free on its disk, and copies take half of that at most`,
        )
      for (const old of planRotation(copies, keep, folder.freeBytes(), coming)) folder.remove(old)
      const taken = await this.#options.take({ database, file: folder.file(name), stamp })
      for (const old of planRotation(folder.list(), keep, folder.freeBytes())) folder.remove(old)
      this.#failing = ''
      this.#problems = taken.problems.length
      this.#env.log.info('The database was backed up', {
        name,
        bytes: taken.bytes,
        ms: Math.round(this.#env.clock.now() - began),
      })
      if (taken.problems.length > 0)
        this.#env.log.error('The backup has problems: see cairn fsck', {
          problems: taken.problems.slice(0, 5),
        })
      return { name, taken: { ...taken, stamp } }
    } catch (thrown) {
      this.#failing = messageOf(thrown)
      this.#env.log.error('The database could not be backed up', { why: this.#failing })
      throw thrown instanceof FsError ? thrown : new FsError('EIO', this.#failing, { cause: thrown })
    } finally {
      this.#options.changed(this.state)
    }
  }

  /** The disk is full: what is served comes first. */
  #giveUpOld(): void {
    const { folder } = this.#options
    const old = folder.list().slice(0, -1)
    if (old.length === 0) return
    for (const { name } of old) folder.remove(name)
    this.#env.log.warn('The disk is full: old copies of the database were removed', { copies: old.length })
    this.#options.changed(this.state)
  }
}
