/**
 * Reads the device with two blocking reads in libuv's thread pool: the fallback where a pipe handle cannot
 * poll it. Twice the cost a request, and the reads end only when the kernel ends the connection.
 */
import { closeSync, read } from 'node:fs'
import type { BufferPool, Receive } from './buffer-pool.ts'
import type { Reader, ReaderEvents } from './reader.ts'

/** One waits while the other's request is served. */
const outstanding = 2

/** The request was taken back, or a signal came: the next read is as good as the first. */
const transient = new Set(['EINTR', 'EAGAIN', 'ENOENT'])

export function readByPool(fd: number, pool: BufferPool, receive: Receive, events: ReaderEvents): Reader {
  let reading = outstanding
  let closing = false
  let closed: () => void
  const done = new Promise<void>(resolve => {
    closed = resolve
  })

  const end = async (error: Error): Promise<void> => {
    closing = true
    if (--reading > 0) return
    await events.closing()
    closeSync(fd)
    events.ended(error)
    closed()
  }
  const next = (buffer: Buffer): void => {
    read(fd, buffer, 0, buffer.length, null, (error, bytes) => {
      if (error !== null && (closing || !transient.has(error.code ?? ''))) return void end(error)
      if (error !== null) {
        next(buffer)
        return
      }
      next(pool.pass(buffer, bytes, receive) ? buffer : pool.take())
    })
  }
  for (let i = 0; i < outstanding; i++) next(pool.take())
  return {
    pause: () => false,
    resume: () => undefined,
    close: () => {
      closing = true
      return done
    },
  }
}
