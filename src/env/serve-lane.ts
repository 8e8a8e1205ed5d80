import { parentPort } from 'node:worker_threads'
import { must } from '../core/assert.ts'
import { type FromWorker, failureOf, openRun, packed, type ToWorker, unpacked } from './lane-messages.ts'

export interface LaneHandler<In, Out> {
  /** One result for each item. What it throws is what `run` rejects with. */
  run(batch: readonly In[]): Out[] | Promise<Out[]>
  /** Called when everything before is done; then the thread ends. */
  close(): void | Promise<void>
}

/**
 * The thread's end of a WorkerLane: called once by its module. Batches are handled one after the other.
 * What `open` throws is what WorkerLane.start rejects with; then the thread ends.
 */
export function serveLane<In, Out>(open: () => LaneHandler<In, Out> | Promise<LaneHandler<In, Out>>): void {
  const port = must(parentPort, 'thread to serve: this module runs in a Worker')

  const attempt = async <T>(run: number, work: () => Promise<T>, result: (done: T) => unknown) => {
    let done: T
    try {
      done = await work()
      const { value, move } = packed(result(done))
      post({ run, results: value }, move)
    } catch (thrown) {
      post({ run, failure: failureOf(thrown) })
      return undefined
    }
    return done
  }
  const post = (message: FromWorker, move: ArrayBuffer[] = []): void => port.postMessage(message, move)

  const opened = attempt(
    openRun,
    async () => open(),
    () => undefined,
  )
  const handle = async (message: ToWorker): Promise<void> => {
    const handler = await opened
    if (handler === undefined || 'close' in message) {
      await handler?.close()
      port.close()
      return
    }
    const batch = unpacked(message.batch) as In[]
    await attempt(
      message.run,
      async () => handler.run(batch),
      results => results,
    )
  }

  let last = opened.then(handler => {
    if (handler === undefined) port.close()
  })
  port.on('message', (message: ToWorker) => {
    // What `close` throws ends the thread as an uncaught rejection.
    last = last.then(() => handle(message))
  })
}
