/**
 * The thread that writes notifications. The kernel may keep such a write waiting for a lock that a request of
 * ours holds, so that it must happen neither on the serving thread nor in libuv's small pool.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { must } from '../../core/assert.ts'
import { writeNotification } from './write-notification.ts'

export interface NotificationRequest {
  readonly id: number
  readonly bytes: Uint8Array
}

export interface NotificationResult {
  readonly id: number
  /** The code of the error, or undefined. */
  readonly error: string | undefined
}

const { fd } = workerData as { readonly fd: number }
const port = must(parentPort, 'the thread that started this one')

port.on('message', (requests: readonly NotificationRequest[]) => {
  for (const { id, bytes } of requests) {
    port.postMessage({ id, error: writeNotification(fd, bytes) } satisfies NotificationResult)
  }
})
