import { Worker } from 'node:worker_threads'
import { assert } from '../core/assert.ts'
import type { Lane } from '../core/network.ts'
import { errorOf, type FromWorker, openRun, packed, type ToWorker, unpacked } from './lane-messages.ts'

export interface WorkerLaneOptions {
  /** The module that calls serveLane. */
  readonly module: URL
  /** What the module gets as its data: plain values. */
  readonly data: unknown
  /** Megabytes of short-lived objects before a collection; by default what the process has. Small saves memory. */
  readonly youngMb?: number
  /** Names the thread in errors. */
  readonly name: string
  /**
   * The thread ended by itself: a bug, or no memory. Its state is unknown, so a daemon must end too.
   * Called at most once, besides rejecting what was under way.
   */
  readonly died: (error: Error) => void
}

interface Run {
  readonly resolve: (results: unknown) => void
  readonly reject: (error: Error) => void
}

/** A lane that is a thread. Batches are run in the order given; several may be under way. */
export class WorkerLane<In, Out> implements Lane<In, Out> {
  readonly #options: WorkerLaneOptions
  readonly #worker: Worker
  readonly #runs = new Map<number, Run>()
  readonly #exited: Promise<void>
  #nextRun = 1
  #closing = false
  #dead: Error | undefined

  private constructor(options: WorkerLaneOptions, ready: Run) {
    this.#options = options
    this.#worker = new Worker(options.module, {
      workerData: options.data,
      name: options.name,
      ...(options.youngMb === undefined
        ? {}
        : { resourceLimits: { maxYoungGenerationSizeMb: options.youngMb } }),
    })
    this.#runs.set(openRun, ready)
    this.#worker.on('message', (message: FromWorker) => this.#receive(message))
    this.#worker.on('messageerror', (error: Error) => this.#die(error))
    this.#worker.on('error', (thrown: unknown) => this.#die(thrownThere(thrown)))
    this.#exited = new Promise(resolve => {
      this.#worker.on('exit', code => {
        if (!this.#closing || this.#runs.size > 0) this.#die(new Error(`exited with code ${code}`))
        resolve()
      })
    })
  }

  /** Starts the thread. Resolves when its handler is open; rejects with what opening it threw. */
  static async start<In, Out>(options: WorkerLaneOptions): Promise<WorkerLane<In, Out>> {
    let lane: WorkerLane<In, Out> | undefined
    await new Promise((resolve, reject) => {
      lane = new WorkerLane<In, Out>(options, { resolve, reject })
    })
    assert(lane !== undefined, 'the lane was made')
    return lane
  }

  async run(batch: readonly In[]): Promise<Out[]> {
    if (this.#dead !== undefined) throw this.#dead
    assert(!this.#closing, `lane ${this.#options.name} is closed`)
    const run = this.#nextRun++
    const { value, move } = packed(batch)
    return new Promise((resolve, reject) => {
      this.#runs.set(run, { resolve: results => resolve(results as Out[]), reject })
      this.#post({ run, batch: value }, move)
    })
  }

  /** What was given before is finished first. */
  async close(): Promise<void> {
    if (!this.#closing && this.#dead === undefined) {
      this.#closing = true
      this.#post({ close: true }, [])
    }
    await this.#exited
  }

  #post(message: ToWorker, move: ArrayBuffer[]): void {
    this.#worker.postMessage(message, move)
  }

  #receive(message: FromWorker): void {
    const run = this.#take(message.run)
    if ('failure' in message) {
      // A thread that could not open its handler ends now, as it should.
      if (message.run === openRun) this.#closing = true
      run?.reject(errorOf(message.failure))
    } else run?.resolve(unpacked(message.results))
  }

  #take(id: number): Run | undefined {
    const run = this.#runs.get(id)
    this.#runs.delete(id)
    return run
  }

  #die(cause: Error): void {
    if (this.#dead !== undefined) return
    const error = new Error(`Thread ${this.#options.name} died: ${cause.message}`, { cause })
    this.#dead = error
    const starting = this.#take(openRun)
    // Before it was ready, whoever starts it hears what went wrong in the module's own words.
    starting?.reject(cause)
    for (const run of this.#runs.values()) run.reject(error)
    this.#runs.clear()
    if (starting === undefined) this.#options.died(error)
  }
}

/** What a thread did not catch comes as something like an Error, made elsewhere. */
function thrownThere(thrown: unknown): Error {
  const { message, stack } = (thrown ?? {}) as { readonly message?: unknown; readonly stack?: unknown }
  const error = new Error(typeof message === 'string' ? message : String(thrown))
  if (typeof stack === 'string') error.stack = stack
  return error
}
