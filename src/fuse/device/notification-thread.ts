import { Worker } from 'node:worker_threads'
import { FsError } from '../../core/errors.ts'
import type { NotificationRequest, NotificationResult } from './notification-worker.ts'

interface Waiting {
  readonly resolve: (error: string | undefined) => void
  readonly reject: (error: FsError) => void
}

/** Writes notifications in order, each when the kernel has taken the one before. */
export interface NotificationWriter {
  /** Resolves when the kernel has done it, with the code of the error that it gave. Rejects if the thread dies first. */
  write(bytes: Uint8Array): Promise<string | undefined>
  /** Resolves when the thread is gone and can no longer use the descriptor. */
  stop(): Promise<unknown>
}

/** Starts a thread. `died` is called at most once, if it ends though nobody stopped it. Throws if it cannot be started. */
export type StartNotificationWriter = (died: (why: FsError) => void) => NotificationWriter

/** The serving side of the notification thread: what one turn produces is one post. */
export class NotificationThread implements NotificationWriter {
  readonly #worker: Worker
  readonly #died: (why: FsError) => void
  readonly #waiting = new Map<number, Waiting>()
  #queued: NotificationRequest[] = []
  #nextId = 1
  #stopped: Promise<unknown> | undefined
  #dead: FsError | undefined

  constructor(worker: Worker, died: (why: FsError) => void) {
    this.#worker = worker
    this.#died = died
    this.#worker.unref()
    this.#worker.on('message', ({ id, error }: NotificationResult) => {
      this.#waiting.get(id)?.resolve(error)
      this.#waiting.delete(id)
    })
    this.#worker.on('error', error => this.#ended(`a notification thread died: ${error.message}`))
    this.#worker.on('exit', code => this.#ended(`a notification thread ended with code ${code}`))
  }

  static start(fd: number, died: (why: FsError) => void): NotificationWriter {
    const worker = new Worker(new URL('./notification-worker.js', import.meta.url), {
      name: 'cairn-notify',
      workerData: { fd },
      execArgv: [],
      // It holds a few messages at a time.
      resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
    })
    return new NotificationThread(worker, died)
  }

  async write(bytes: Uint8Array): Promise<string | undefined> {
    if (this.#stopped !== undefined) return 'ENODEV'
    if (this.#dead !== undefined) throw this.#dead
    const id = this.#nextId++
    if (this.#queued.length === 0) queueMicrotask(() => this.#post())
    this.#queued.push({ id, bytes })
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
  }

  stop(): Promise<unknown> {
    if (this.#stopped === undefined) {
      // Someone waits for its end: the process must not end before.
      this.#worker.ref()
      this.#stopped = this.#worker.terminate()
    }
    return this.#stopped
  }

  #post(): void {
    if (this.#stopped === undefined && this.#dead === undefined) this.#worker.postMessage(this.#queued)
    this.#queued = []
  }

  #ended(why: string): void {
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    if (this.#stopped !== undefined) {
      for (const { resolve } of waiting) resolve('ENODEV')
      return
    }
    // An error is followed by the exit.
    if (this.#dead !== undefined) return
    this.#dead = new FsError('EIO', why)
    for (const { reject } of waiting) reject(this.#dead)
    this.#died(this.#dead)
  }
}
