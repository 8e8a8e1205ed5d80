/**
 * The thread that writes notifications. The kernel may keep such a write waiting for a lock that a request of
 * ours holds, so that it must happen neither on the serving thread nor in libuv's small pool.
 */
import { writeSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { must } from '../../core/assert.ts'

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

function write(bytes: Uint8Array): string | undefined {
  for (;;) {
    try {
      writeSync(fd, bytes)
      return undefined
    } catch (thrown) {
      const { code } = thrown as NodeJS.ErrnoException
      if (code !== 'EINTR' && code !== 'EAGAIN') return code ?? 'EIO'
    }
  }
}

port.on('message', (requests: readonly NotificationRequest[]) => {
  for (const { id, bytes } of requests) {
    port.postMessage({ id, error: write(bytes) } satisfies NotificationResult)
  }
})
