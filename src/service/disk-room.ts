import { existsSync, rmSync, statfsSync, statSync } from 'node:fs'
import { open, rename, statfs } from 'node:fs/promises'
import path from 'node:path'
import type { Env, Timer } from '../core/env.ts'
import { messageOf } from '../core/errors.ts'
import { MiB } from '../core/units.ts'

const reserveFile = 'reserve'
const pollMs = 250
/** With less left, or less than this part of the disk, the disk counts as full. */
const fullBytes = 64 * MiB
const fullPart = 16
const reserveBytesMax = 16 * MiB
/** Of the reserve, so much is not for what was promised, but for what makes room. */
const spentPart = 2

/**
 * Watches the room on a folder's disk. A file of zeros keeps some in reserve: when another process has filled the
 * disk to the last byte it is given up, so that what makes room can still be written down. It is made again when
 * there is plenty.
 */
export class DiskRoom {
  readonly #folder: string
  readonly #env: Env
  #full = false
  #spent = false
  #timer: Timer | undefined
  #closed = false

  private constructor(folder: string, env: Env) {
    this.#folder = folder
    this.#env = env
  }

  static async watch(folder: string, env: Env): Promise<DiskRoom> {
    const room = new DiskRoom(folder, env)
    await room.#look()
    return room
  }

  get full(): boolean {
    return this.#full
  }

  /** There is nearly nothing left, the reserve included. */
  get spent(): boolean {
    return this.#spent
  }

  /** Somebody could not write. */
  exhausted(): void {
    this.#full = true
    rmSync(this.#file, { force: true })
    try {
      const { bsize, blocks, bavail } = statfsSync(this.#folder)
      this.#spent = isSpent(bsize * blocks, bsize * bavail)
    } catch (error) {
      this.#env.log.warn('The room on the disk is unknown', { folder: this.#folder, why: messageOf(error) })
    }
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  get #file(): string {
    return path.join(this.#folder, reserveFile)
  }

  async #look(): Promise<void> {
    try {
      const { bsize, blocks, bavail } = await statfs(this.#folder)
      await this.#decide(bsize * blocks, bsize * bavail)
    } catch (error) {
      this.#env.log.warn('The room on the disk is unknown', { folder: this.#folder, why: messageOf(error) })
    }
    if (!this.#closed) this.#timer = this.#env.timers.after(pollMs, () => void this.#look())
  }

  async #decide(totalBytes: number, freeBytes: number): Promise<void> {
    const least = Math.min(fullBytes, totalBytes / fullPart)
    const reserve = reserveOf(totalBytes)
    const missing = this.#reserved() >= reserve ? 0 : reserve
    // While it is there, there is more.
    this.#spent = missing > 0 && isSpent(totalBytes, freeBytes)
    if (freeBytes < least) {
      this.#full = true
      if (freeBytes < least / 4) rmSync(this.#file, { force: true })
    } else if (freeBytes - missing > least * 1.25) {
      if (missing > 0) await this.#reserve(reserve)
      this.#full = false
    }
  }

  #reserved(): number {
    return existsSync(this.#file) ? statSync(this.#file).size : 0
  }

  /** Zeros that are really on the disk. */
  async #reserve(bytes: number): Promise<void> {
    const file = await open(`${this.#file}.new`, 'w', 0o600)
    try {
      const zeros = Buffer.alloc(Math.min(bytes, MiB))
      for (let at = 0; at < bytes; at += zeros.length)
        await file.write(zeros, 0, Math.min(zeros.length, bytes - at))
    } finally {
      await file.close()
    }
    await rename(`${this.#file}.new`, this.#file)
  }
}

const reserveOf = (totalBytes: number): number => Math.floor(Math.min(reserveBytesMax, totalBytes / fullPart))

const isSpent = (totalBytes: number, freeBytes: number): boolean =>
  freeBytes < reserveOf(totalBytes) / spentPart
