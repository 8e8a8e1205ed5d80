import { must } from '../../core/assert.ts'
import { FsError, messageOf, UsageError } from '../../core/errors.ts'
import type { Lane } from '../../core/network.ts'
import { MiB } from '../../core/units.ts'
import {
  type IndexOp,
  type IndexOps,
  type IndexReply,
  type IndexRequest,
  readingOps,
} from './index-protocol.ts'

export type IndexLane = Lane<IndexRequest, IndexReply>

interface Waiting {
  readonly request: IndexRequest
  readonly resolve: (out: unknown) => void
  readonly reject: (error: unknown) => void
}

/** More would make the first of a batch wait long for its answer, and hold much data twice on its way to the Worker. */
const batchMax = 512
const batchBytesMax = 8 * MiB

/**
 * The index from the store's side: gathers what is asked while a batch is under way into the next
 * one, so that one sync serves all of it.
 */
export class BlockIndex {
  readonly #writer: LaneQueue
  readonly #reader: LaneQueue

  /**
   * Without a `reader`, reads go behind writes. `damaged` is told when the database turns out to be damaged,
   * beside the rejection of what was asked: nothing of it can be relied upon.
   */
  constructor(writer: IndexLane, reader?: IndexLane, damaged: (why: UsageError) => void = () => undefined) {
    this.#writer = new LaneQueue(writer, damaged)
    this.#reader = reader === undefined ? this.#writer : new LaneQueue(reader, damaged)
  }

  /** Transactions so far, each with one sync. */
  get syncs(): number {
    return this.#writer.batches
  }

  /** Resolves when the change, if it is one, is on stable storage. */
  async ask<Op extends IndexOp>(op: Op, input: IndexOps[Op]['in']): Promise<IndexOps[Op]['out']> {
    const queue = readingOps.has(op) ? this.#reader : this.#writer
    return (await queue.ask({ op, in: input } as IndexRequest)) as IndexOps[Op]['out']
  }

  /**
   * As `close`, with a note that the end was in order. The writer is the last to close the database, so that its
   * log becomes part of it and goes.
   */
  async closeInOrder(): Promise<void> {
    if (this.#reader !== this.#writer) await this.#reader.close()
    await this.ask('close', {})
    await this.#writer.close()
  }

  /** Ends the lanes; what was asked before is answered first. */
  async close(): Promise<void> {
    if (this.#reader !== this.#writer) await this.#reader.close()
    await this.#writer.close()
  }
}

class LaneQueue {
  readonly #lane: IndexLane
  readonly #damaged: (why: UsageError) => void
  #waiting: Waiting[] = []
  #running: Promise<void> | undefined
  /** Given to the lane so far. */
  batches = 0

  constructor(lane: IndexLane, damaged: (why: UsageError) => void) {
    this.#lane = lane
    this.#damaged = damaged
  }

  ask(request: IndexRequest): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, resolve, reject })
      this.#running ??= this.#run()
    })
  }

  async close(): Promise<void> {
    await this.#running
    await this.#lane.close()
  }

  async #run(): Promise<void> {
    // What else this turn asks joins the first batch.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      const batch = this.#take()
      this.batches++
      try {
        this.#settle(batch, await this.#lane.run(batch.map(({ request }) => request)))
      } catch (error) {
        const lost = new FsError('EIO', `the block index is gone: ${messageOf(error)}`, { cause: error })
        for (const { reject } of batch) reject(lost)
      }
    }
    this.#running = undefined
  }

  #take(): Waiting[] {
    let bytes = 0
    const end = this.#waiting.findIndex(({ request }, at) => {
      bytes += request.op === 'put' ? (request.in.data?.length ?? 0) : 0
      return at > 0 && (at >= batchMax || bytes > batchBytesMax)
    })
    return this.#waiting.splice(0, end === -1 ? this.#waiting.length : end)
  }

  #settle(batch: readonly Waiting[], replies: readonly IndexReply[]): void {
    for (const [at, { resolve, reject }] of batch.entries()) {
      const reply = must(replies[at], 'reply of the index')
      if (reply.ok) resolve(reply.out)
      else if (reply.is === 'failure') reject(FsError.fromErrno(reply.errno, reply.message))
      else {
        const why = new UsageError(reply.message)
        if (reply.is === 'damage') this.#damaged(why)
        reject(why)
      }
    }
  }
}
