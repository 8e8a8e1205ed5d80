import { FsError } from '../../core/errors.ts'
import { NotificationThread } from './notification-thread.ts'
import { writeNotification } from './write-notification.ts'

/** More inodes than this whose pages are locked at once make notifications wait for each other. */
const threadsMax = 16
/** Given to a thread at a time: what waits behind a message that is stuck is given to another thread. */
const batchMax = 128
/** A message that the kernel has not taken after this long waits for a lock. */
const stuckMs = 100

interface Message {
  readonly bytes: Uint8Array
  readonly resolve: (error: string | undefined) => void
  readonly reject: (error: FsError) => void
  answered: boolean
}

interface Lane {
  readonly thread: NotificationThread
  /** Given to the thread and not answered, in order. */
  underWay: Message[]
  timer: NodeJS.Timeout | undefined
  stuck: boolean
}

/**
 * Writes notifications, each as soon as it can be. The kernel keeps one waiting while a page is locked by a
 * request of ours, and that request may wait for another mount that waits for a notification of its own: so
 * none may wait behind one that is about another inode. A thread serves as long as nothing is stuck; then
 * what is behind is given to the next, perhaps twice, which does no harm.
 */
export class NotificationThreads {
  readonly #fd: number
  readonly #lanes: Lane[] = []
  #queue: Message[] = []
  #scheduled = false
  readonly #ending = new Set<Promise<unknown>>()
  #stopped: Promise<unknown> | undefined

  constructor(fd: number) {
    this.#fd = fd
    // It takes a while to start: not when the first notification is urgent.
    this.#lane()
  }

  /** Resolves when the kernel has done it, with the code of the error that it gave. */
  async write(bytes: Uint8Array): Promise<string | undefined> {
    if (this.#stopped !== undefined) return 'ENODEV'
    return new Promise((resolve, reject) => {
      this.#queue.push({ bytes, resolve, reject, answered: false })
      if (this.#scheduled) return
      this.#scheduled = true
      queueMicrotask(() => {
        this.#scheduled = false
        this.#give()
      })
    })
  }

  /**
   * What the kernel has not taken yet, for a successor on the same device. Written twice, it does no harm; and one that
   * waits for a request which nobody reads meanwhile is not waited for.
   */
  get unfinished(): readonly Uint8Array[] {
    const messages = new Set([...this.#lanes.flatMap(lane => lane.underWay), ...this.#queue])
    return [...messages].filter(({ answered }) => !answered).map(({ bytes }) => bytes)
  }

  /** Writes by itself what the kernel never keeps waiting. */
  writeNow(bytes: Uint8Array): string | undefined {
    if (this.#stopped !== undefined) return 'ENODEV'
    return writeNotification(this.#fd, bytes)
  }

  /** Resolves when the threads are gone and can no longer use the descriptor. */
  stop(): Promise<unknown> {
    this.#stopped ??= Promise.all([...this.#ending, ...this.#lanes.map(lane => this.#end(lane))])
    for (const { resolve } of this.#queue.splice(0)) resolve('ENODEV')
    return this.#stopped
  }

  #give(): void {
    if (this.#stopped !== undefined) return
    this.#queue = this.#queue.filter(({ answered }) => !answered)
    while (this.#queue.length > 0) {
      const lane = this.#freeLane()
      if (lane === undefined) return
      lane.underWay = this.#queue.splice(0, batchMax)
      for (const message of lane.underWay) this.#follow(lane, message)
      this.#watch(lane)
    }
  }

  /** Undefined if one will be free soon. */
  #freeLane(): Lane | undefined {
    const free = this.#lanes.find(lane => lane.underWay.length === 0)
    if (free !== undefined) return free
    const allStuck = this.#lanes.every(lane => lane.stuck)
    return allStuck && this.#lanes.length < threadsMax ? this.#lane() : undefined
  }

  #lane(): Lane {
    const lane = { thread: new NotificationThread(this.#fd), underWay: [], timer: undefined, stuck: false }
    this.#lanes.push(lane)
    return lane
  }

  #follow(lane: Lane, message: Message): void {
    const done = (settle: () => void): void => {
      if (!message.answered) {
        message.answered = true
        settle()
      }
      lane.underWay = lane.underWay.filter(other => other !== message)
      this.#watch(lane)
      if (lane.underWay.length === 0) this.#give()
    }
    lane.thread.write(message.bytes).then(
      error => done(() => message.resolve(error)),
      (thrown: unknown) => done(() => message.reject(FsError.from(thrown))),
    )
  }

  /** The first message of the lane is the one that the kernel is at. */
  #watch(lane: Lane): void {
    clearTimeout(lane.timer)
    lane.stuck = false
    if (lane.underWay.length === 0) {
      this.#retire(lane)
      return
    }
    lane.timer = setTimeout(() => {
      lane.stuck = true
      const [, ...behind] = lane.underWay
      this.#queue.unshift(...behind)
      this.#give()
    }, stuckMs)
    lane.timer.unref()
  }

  /** Two are kept for the next time. */
  #retire(lane: Lane): void {
    if (this.#lanes.length <= 2 || this.#stopped !== undefined || this.#queue.length > 0) return
    this.#lanes.splice(this.#lanes.indexOf(lane), 1)
    const ending = this.#end(lane)
    this.#ending.add(ending)
    void ending.then(() => this.#ending.delete(ending))
  }

  #end(lane: Lane): Promise<unknown> {
    clearTimeout(lane.timer)
    return lane.thread.stop()
  }
}
