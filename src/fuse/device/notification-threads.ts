import type { Log } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import {
  NotificationThread,
  type NotificationWriter,
  type StartNotificationWriter,
} from './notification-thread.ts'
import { writeNotification } from './write-notification.ts'

/** More inodes than this whose pages are locked at once make notifications wait for each other. */
const threadsMax = 16
/** Given to a thread at a time: what waits behind a message that is stuck is given to another thread. */
const batchMax = 128
/** A message that the kernel has not taken after this long waits for a lock. */
const stuckMs = 100
/** When so many threads have died over one message, more would, too. */
const deathsMax = 4

interface Message {
  readonly bytes: Uint8Array
  readonly resolve: (error: string | undefined) => void
  answered: boolean
  /** Threads that had it and died. */
  deaths: number
}

interface Lane {
  readonly thread: NotificationWriter
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
 *
 * What a thread had when it died is given to another: the kernel forgets what it is told to, or the mount ends
 * (`failed`). Until `stop`, what could not be written stays unanswered, so that nobody believes that it was.
 */
export class NotificationThreads {
  /** Resolves if no thread can be had that writes: the kernel's caches cannot be kept true any longer. */
  readonly failed: Promise<FsError>
  readonly #fd: number
  readonly #log: Log
  readonly #start: StartNotificationWriter
  readonly #lanes: Lane[] = []
  #queue: Message[] = []
  #scheduled = false
  readonly #ending = new Set<Promise<unknown>>()
  #stopped: Promise<unknown> | undefined
  #hasFailed = false
  #later: NodeJS.Timeout | undefined
  #setFailed: (why: FsError) => void = () => undefined

  /** Throws if a thread cannot be started. */
  constructor(
    fd: number,
    log: Log,
    start: StartNotificationWriter = died => NotificationThread.start(fd, died),
  ) {
    this.#fd = fd
    this.#log = log
    this.#start = start
    this.failed = new Promise(resolve => {
      this.#setFailed = resolve
    })
    // It takes a while to start: not when the first notification is urgent.
    this.#lane()
  }

  /** Resolves when the kernel has done it, with the code of the error that it gave. */
  async write(bytes: Uint8Array): Promise<string | undefined> {
    if (this.#stopped !== undefined) return 'ENODEV'
    return new Promise(resolve => {
      this.#queue.push({ bytes, resolve, answered: false, deaths: 0 })
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

  /**
   * Resolves when the threads are gone and can no longer use the descriptor. What is left is answered, too, unless none
   * could be had: then the kernel believes what is old until the descriptor is closed (`settle`).
   */
  stop(): Promise<unknown> {
    clearTimeout(this.#later)
    this.#stopped ??= Promise.all([...this.#ending, ...this.#lanes.map(lane => this.#end(lane))])
    if (!this.#hasFailed) this.settle()
    return this.#stopped
  }

  /** The kernel serves nobody any more. */
  settle(): void {
    for (const { resolve } of this.#queue.splice(0)) resolve('ENODEV')
  }

  #give(): void {
    if (this.#stopped !== undefined || this.#failed()) return
    this.#queue = this.#queue.filter(({ answered }) => !answered)
    while (this.#queue.length > 0 && !this.#failed()) {
      const lane = this.#freeLane()
      if (lane === undefined) return
      lane.underWay = this.#queue.splice(0, batchMax)
      for (const message of lane.underWay) this.#follow(lane, message)
      if (this.#lanes.includes(lane)) this.#watch(lane)
    }
  }

  /** Undefined if one will be free soon. */
  #freeLane(): Lane | undefined {
    const free = this.#lanes.find(lane => lane.underWay.length === 0)
    if (free !== undefined) return free
    const allStuck = this.#lanes.every(lane => lane.stuck)
    if (!allStuck || this.#lanes.length >= threadsMax) return undefined
    try {
      return this.#lane()
    } catch (thrown) {
      this.#noneToBeHad(FsError.from(thrown))
      return undefined
    }
  }

  #lane(): Lane {
    const thread = this.#start(why => this.#died(lane, why))
    const lane: Lane = { thread, underWay: [], timer: undefined, stuck: false }
    this.#lanes.push(lane)
    return lane
  }

  /** What it had, it may have written or not. The next one starts when there is something to write. */
  #died(lane: Lane, why: FsError): void {
    clearTimeout(lane.timer)
    this.#lanes.splice(this.#lanes.indexOf(lane), 1)
    // What waits behind the stuck message of another lane is nowhere.
    const working = this.#lanes.filter(({ stuck }) => !stuck).flatMap(({ underWay }) => underWay)
    const elsewhere = new Set([...this.#queue, ...working])
    const left = lane.underWay.filter(message => !message.answered && !elsewhere.has(message))
    for (const message of lane.underWay) message.deaths += 1
    lane.underWay = []
    if (this.#stopped !== undefined) {
      for (const { resolve } of left) resolve('ENODEV')
      return
    }
    this.#queue.unshift(...left)
    this.#log.warn('a thread for notifications died', { why: why.message, again: left.length })
    if (!this.#queue.some(({ answered, deaths }) => !answered && deaths >= deathsMax)) this.#give()
    else this.#noneToBeHad(why)
  }

  /** No thread can be had now. One that is stuck may serve in a moment; without any, nothing will ever be written. */
  #noneToBeHad(why: FsError): void {
    if (this.#lanes.length === 0) {
      this.#fail(why)
      return
    }
    this.#log.warn('no thread for notifications can be had', {
      why: why.message,
      threads: this.#lanes.length,
    })
    clearTimeout(this.#later)
    this.#later = setTimeout(() => this.#give(), stuckMs)
    this.#later.unref()
  }

  /** Asked again after each message that was given: its thread may have died by that. */
  #failed(): boolean {
    return this.#hasFailed
  }

  #fail(why: FsError): void {
    if (this.#hasFailed) return
    this.#hasFailed = true
    this.#setFailed(
      new FsError('EIO', `the kernel cannot be told what to forget: ${why.message}`, { cause: why }),
    )
  }

  #follow(lane: Lane, message: Message): void {
    lane.thread.write(message.bytes).then(
      error => {
        if (!message.answered) {
          message.answered = true
          message.resolve(error)
        }
        lane.underWay = lane.underWay.filter(other => other !== message)
        if (!this.#lanes.includes(lane)) return
        this.#watch(lane)
        if (lane.underWay.length === 0) this.#give()
      },
      // It died: `#died` gives the message to another.
      () => undefined,
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
