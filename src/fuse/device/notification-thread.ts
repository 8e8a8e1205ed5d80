import { Worker } from 'node:worker_threads'
import { FsError } from '../../core/errors.ts'
import type { NotificationRequest, NotificationResult } from './notification-worker.ts'

interface Waiting {
  readonly resolve: (error: string | undefined) => void
  readonly reject: (error: FsError) => void
}

/** The serving side of the notification thread: messages are written in order, what one turn produces in one post. */
export class NotificationThread {
  readonly #worker: Worker
  readonly #waiting = new Map<number, Waiting>()
  #queued: NotificationRequest[] = []
  #nextId = 1
  #stopped: Promise<unknown> | undefined

  constructor(fd: number) {
    this.#worker = new Worker(new URL('./notification-worker.js', import.meta.url), {
      name: 'cairn-notify',
      workerData: { fd },
      execArgv: [],
      // It holds a few messages at a time.
      resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
    })
    this.#worker.unref()
    this.#worker.on('message', ({ id, error }: NotificationResult) => {
      this.#waiting.get(id)?.resolve(error)
      this.#waiting.delete(id)
    })
    this.#worker.on('error', error =>
      this.#fail(new FsError('EIO', `the notification thread died: ${error.message}`)),
    )
    this.#worker.on('exit', () => this.#fail(new FsError('ENODEV', 'the notification thread has ended')))
  }

  /** Resolves when the kernel has done it, with the code of the error that it gave. */
  async write(bytes: Uint8Array): Promise<string | undefined> {
    if (this.#stopped !== undefined) return 'ENODEV'
    const id = this.#nextId++
    if (this.#queued.length === 0) queueMicrotask(() => this.#post())
    this.#queued.push({ id, bytes })
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
  }

  /** Resolves when the thread is gone and can no longer use the descriptor. */
  stop(): Promise<unknown> {
    if (this.#stopped === undefined) {
      // Someone waits for its end: the process must not end before.
      this.#worker.ref()
      this.#stopped = this.#worker.terminate()
    }
    return this.#stopped
  }

  #post(): void {
    if (this.#stopped === undefined) this.#worker.postMessage(this.#queued)
    this.#queued = []
  }

  #fail(error: FsError): void {
    for (const { resolve, reject } of this.#waiting.values()) {
      if (this.#stopped === undefined) reject(error)
      else resolve('ENODEV')
    }
    this.#waiting.clear()
  }
}
