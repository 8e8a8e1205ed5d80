/**
 * The conversation with the kernel over one mounted device: INIT, then requests in any number at a time.
 * Knows no file descriptors: messages come in through `receive`, answers leave through a Channel, so that it
 * can be driven without a kernel. All that it holds is rebuilt by a successor from `Negotiated` alone.
 */
import type { Clock, Log } from '../../core/env.ts'
import { type ErrnoName, FsError, messageOf } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import { opcode } from '../codec/abi.ts'
import { type Negotiated, negotiate, replyInit } from '../codec/init.ts'
import { Reply } from '../codec/reply.ts'
import { type Header, readHeader, Request } from '../codec/request.ts'
import type { Answer, FileSystem } from '../filesystem.ts'
import type { Context, Operation } from './operation.ts'
import { type NamedOperation, operations } from './operations.ts'

/** The way to the kernel. */
export interface Channel {
  /**
   * Sends one message synchronously. `gone`: the kernel no longer waits for it (interrupted, unmounted);
   * `refused`: the kernel found it malformed and goes on waiting.
   */
  send(head: Buffer, headLength: number, data: readonly Uint8Array[]): 'sent' | 'gone' | 'refused'
}

export type Observe = (operation: string, micros: number, error: ErrnoName | undefined, ino: Ino) => void

export interface SessionOptions {
  readonly clock: Clock
  readonly log: Log
  /** O_DIRECT of this machine. */
  readonly directBit: number
  /** Hears of every answered operation. */
  readonly observe?: Observe | undefined
}

export type StartFileSystem = (facts: Negotiated) => Answer<FileSystem>

/** A message of fewer bytes than this cannot be INIT. */
const initBytesMin = 16

/** A request whose answer is not there yet. */
interface Pending {
  readonly request: Request
  readonly name: string
  /** Of one that may last: the message, to begin it anew. */
  readonly message: Buffer | undefined
  /** It was taken back, for a successor to begin it anew. */
  yielding: boolean
}

/** INTERRUPTs that came before their request (two readers may swap them) or after its answer. */
const strayInterruptsMax = 256

export class Session {
  readonly #channel: Channel
  readonly #start: StartFileSystem
  readonly #options: SessionOptions
  readonly #reply = new Reply()
  /** Requests whose answer is not there yet, by unique. */
  readonly #pending = new Map<number, Pending>()
  /** Messages of requests that were taken back (`yieldLasting`). The kernel still waits for their answers. */
  #yielded: Buffer[] = []
  #yielding = false
  readonly #strayInterrupts = new Set<number>()
  #fs: FileSystem | undefined
  #context: Context | undefined
  #aborted = false
  #closed = false
  #initialised = false
  #begin: (facts: Negotiated) => void = () => undefined
  #refuse: (error: unknown) => void = () => undefined
  /** Resolves when the kernel's INIT was answered; rejects if the two do not agree. */
  readonly begun: Promise<Negotiated>

  constructor(channel: Channel, start: StartFileSystem, options: SessionOptions) {
    this.#channel = channel
    this.#start = start
    this.#options = options
    this.begun = new Promise((resolve, reject) => {
      this.#begin = resolve
      this.#refuse = reject
    })
    // Whoever waits hears of it; nobody need wait.
    this.begun.catch(() => undefined)
  }

  get fileSystem(): FileSystem | undefined {
    return this.#fs
  }

  /** Goes on with what another process negotiated. */
  resume(facts: Negotiated, fs: FileSystem): void {
    this.#fs = fs
    this.#reply.root = fs.root
    this.#context = { facts, directBit: this.#options.directBit }
    this.#initialised = true
    this.#begin(facts)
  }

  /**
   * Handles one message, exactly as read from the device. The bytes may be used again at once, or, if
   * a promise is returned, when it resolves (it never rejects).
   */
  receive(bytes: Buffer): Promise<void> | undefined {
    const header = readHeader(bytes)
    if (header === undefined) {
      this.#options.log.warn('dropped a message of the kernel that is no request', { bytes: bytes.length })
      return undefined
    }
    switch (header.opcode) {
      case opcode.INIT:
        void this.#init(bytes, header)
        return undefined
      case opcode.INTERRUPT:
        this.#interrupt(bytes, header)
        return undefined
      case opcode.DESTROY:
        this.#reply.start(header.unique)
        this.#send()
        return undefined
      case opcode.NOTIFY_REPLY:
        return undefined
      default:
        return this.#dispatch(bytes, header)
    }
  }

  /** Requests that the kernel waits for, by name, but those that were taken back. */
  get unanswered(): readonly string[] {
    return [...this.#pending.values()].map(({ name }) => name)
  }

  /**
   * Takes back requests that may wait for ever, as a signal would, without an answer. Some are answered all the same,
   * since what they waited for has come. The others are in `yielded` when nothing is unanswered any more.
   */
  yieldLasting(): void {
    this.#yielding = true
    for (const pending of this.#pending.values()) {
      if (pending.message === undefined || pending.request.isInterrupted) continue
      pending.yielding = true
      pending.request.interrupt()
    }
  }

  get yielded(): readonly Buffer[] {
    return this.#yielded
  }

  /** Begins again what was taken back: there is no successor. */
  takeBack(): void {
    this.#yielding = false
    for (const message of this.#yielded.splice(0)) void this.receive(message)
  }

  /**
   * Gives up: whatever the kernel waits for, and still asks, is EIO. Needed before the device can be closed,
   * since a notification under way may wait for one of these requests, and keeps the device open.
   */
  abort(): void {
    this.#aborted = true
    for (const [unique, { request }] of this.#pending) {
      this.#pending.delete(unique)
      this.#fail(unique, new FsError('EIO'))
      request.interrupt()
    }
  }

  /** The device is gone: nobody waits for answers any more. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const { request } of this.#pending.values()) request.interrupt()
    this.#refuse(new FsError('ENODEV', 'the device went away before the kernel began the session'))
  }

  async #init(bytes: Buffer, header: Header): Promise<void> {
    try {
      if (this.#initialised) throw new FsError('EIO', 'a second INIT')
      this.#initialised = true
      const request = new Request(bytes, header)
      request.check(initBytesMin)
      const facts = negotiate(request)
      // The kernel sends nothing else before INIT is answered.
      this.#fs = await this.#start(facts)
      this.#reply.root = this.#fs.root
      this.#context = { facts, directBit: this.#options.directBit }
      this.#reply.start(header.unique)
      replyInit(this.#reply, facts)
      this.#send()
      this.#begin(facts)
    } catch (thrown) {
      this.#options.log.error('the kernel and this driver do not agree', { error: messageOf(thrown) })
      this.#fail(header.unique, FsError.from(thrown))
      this.#refuse(thrown)
    }
  }

  #interrupt(bytes: Buffer, header: Header): void {
    try {
      const request = new Request(bytes, header)
      request.check(8)
      const unique = request.size(0, 'EINVAL')
      const target = this.#pending.get(unique)
      if (target !== undefined) {
        target.yielding = false
        target.request.interrupt()
        return
      }
      this.#strayInterrupts.add(unique)
      if (this.#strayInterrupts.size <= strayInterruptsMax) return
      for (const oldest of this.#strayInterrupts) {
        this.#strayInterrupts.delete(oldest)
        return
      }
    } catch (thrown) {
      this.#options.log.warn('dropped a malformed INTERRUPT', { error: messageOf(thrown) })
    }
  }

  #dispatch(bytes: Buffer, header: Header): Promise<void> | undefined {
    const named = operations[header.opcode]
    const fs = this.#fs
    const context = this.#context
    if (named === undefined || fs === undefined || context === undefined || this.#aborted) {
      if (named?.row.silent !== true)
        this.#fail(header.unique, new FsError(named === undefined ? 'ENOSYS' : 'EIO'))
      return undefined
    }
    const { row } = named
    const began = this.#options.observe === undefined ? 0 : this.#options.clock.now()
    const request = new Request(bytes, header, fs.root)
    let answer: Answer<unknown>
    try {
      request.check(row.inBytes)
      if (this.#strayInterrupts.size > 0 && this.#strayInterrupts.delete(header.unique)) request.interrupt()
      answer = row.run(fs, request, context)
    } catch (thrown) {
      this.#answerError(named, request, thrown, began)
      return undefined
    }
    if (!(answer instanceof Promise)) {
      this.#answer(named, fs, request, answer, began)
      return undefined
    }
    const message = row.lasting === true ? Buffer.from(bytes) : undefined
    const pending: Pending = { request, name: named.name, message, yielding: false }
    this.#pending.set(header.unique, pending)
    const answered = answer.then(
      value => {
        if (this.#pending.delete(header.unique)) this.#answer(named, fs, request, value, began)
        else void this.#undo(named, row, fs, value)
      },
      (thrown: unknown) => {
        if (!this.#pending.delete(header.unique)) return
        if (pending.yielding && message !== undefined && FsError.from(thrown).code === 'EINTR')
          this.#yield(message)
        else this.#answerError(named, request, thrown, began)
      },
    )
    return row.lendsRequest ? answered : undefined
  }

  #yield(message: Buffer): void {
    if (this.#yielding) this.#yielded.push(message)
    else void this.receive(message)
  }

  #answer(named: NamedOperation, fs: FileSystem, request: Request, value: unknown, began: number): void {
    const { row } = named
    const { unique } = request
    if (!row.silent) {
      this.#reply.start(unique)
      try {
        row.reply?.(this.#reply, value)
      } catch (thrown) {
        this.#answerError(named, request, thrown, began)
        return
      }
      const outcome = this.#send()
      if (outcome === 'refused') {
        this.#options.log.error('the kernel refused an answer', { operation: named.name })
        this.#fail(unique, new FsError('EIO'))
      }
      if (outcome === 'sent') row.sent?.(value)
      else void this.#undo(named, row, fs, value)
    }
    this.#options.observe?.(named.name, (this.#options.clock.now() - began) * 1000, undefined, request.node)
  }

  async #undo({ name }: NamedOperation, row: Operation, fs: FileSystem, value: unknown): Promise<void> {
    try {
      await row.undo?.(fs, value)
    } catch (thrown) {
      this.#options.log.warn('cannot take back an answer that nobody waited for', {
        operation: name,
        error: messageOf(thrown),
      })
    }
  }

  #answerError(
    { name, row }: NamedOperation,
    { unique, node }: Request,
    thrown: unknown,
    began: number,
  ): void {
    const error = FsError.from(thrown)
    if (thrown !== error) {
      this.#options.log.error('an operation failed by a bug', {
        operation: name,
        error: thrown instanceof Error ? (thrown.stack ?? thrown.message) : messageOf(thrown),
      })
    }
    if (row.silent)
      this.#options.log.warn('dropped a malformed request', { operation: name, error: error.message })
    else this.#fail(unique, error)
    this.#options.observe?.(name, (this.#options.clock.now() - began) * 1000, error.code, node)
  }

  #fail(unique: number, error: FsError): void {
    this.#reply.start(unique)
    this.#reply.fail(error.errno)
    this.#send()
  }

  #send(): ReturnType<Channel['send']> {
    if (this.#closed) return 'gone'
    this.#reply.finish()
    return this.#channel.send(this.#reply.head, this.#reply.length, this.#reply.pieces)
  }
}
