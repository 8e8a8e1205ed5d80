/**
 * Reads the device by readiness on the event loop: half the cost of reads through libuv's thread pool. Node
 * has no public way to poll a character device, but the handle of its pipes accepts any descriptor that can
 * be polled.
 */
import * as net from 'node:net'
import { must } from '../../core/assert.ts'
import type { BufferPool, Receive } from './buffer-pool.ts'
import type { Reader, ReaderEvents } from './reader.ts'

/** The part that is used of Node's internal Pipe handle. */
interface PipeHandle {
  open(fd: number): number | undefined
  readStop(): void
  close(closed?: () => void): void
}

type PipeClass = new (type: number) => PipeHandle

/** The class of the handle that a connecting socket has from the start; the connection itself fails. */
function pipeClass(): PipeClass {
  const socket = net.connect({ path: '/nonexistent/cairn' })
  socket.on('error', () => undefined)
  const handle = (socket as unknown as { readonly _handle: PipeHandle | null })._handle
  socket.destroy()
  return must(handle, 'handle of a pipe socket').constructor as PipeClass
}

/** Takes the descriptor over, makes it non-blocking and closes it in the end. Throws if this Node cannot. */
export function readByEpoll(fd: number, pool: BufferPool, receive: Receive, events: ReaderEvents): Reader {
  const Pipe = pipeClass()
  const handle = new Pipe(0)
  const failed = handle.open(fd)
  if (failed !== undefined && failed < 0) throw new Error(`a pipe handle cannot poll the device: ${failed}`)

  const close = handle.close.bind(handle)
  handle.close = closed => {
    handle.readStop()
    void events.closing().then(() => close(closed))
  }

  let current = pool.take()
  const socket = new net.Socket({
    handle,
    readable: true,
    writable: false,
    onread: {
      buffer: () => current,
      callback: (bytes: number) => {
        if (!pool.pass(current, bytes, receive)) current = pool.take()
        return true
      },
    },
  } as net.SocketConstructorOpts)
  let failure: Error | undefined
  const ended = new Promise<void>(resolve => {
    socket.on('error', error => {
      failure = error
    })
    socket.on('close', () => {
      events.ended(failure)
      resolve()
    })
  })
  socket.resume()
  return {
    pause: () => {
      socket.pause()
      return true
    },
    resume: () => {
      socket.resume()
    },
    close: async () => {
      socket.destroy()
      await ended
    },
  }
}
