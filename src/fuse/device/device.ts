import { closeSync, constants, openSync, writeSync, writevSync } from 'node:fs'
import { assert } from '../../core/assert.ts'
import type { Log } from '../../core/env.ts'
import { messageOf, UsageError } from '../../core/errors.ts'
import type { Channel } from '../session/session.ts'
import { BufferPool, type Receive } from './buffer-pool.ts'
import type { BusyPoll } from './busy-poll.ts'
import { readByEpoll } from './epoll-reader.ts'
import { NotificationThreads } from './notification-threads.ts'
import { readByPool } from './pool-reader.ts'
import type { Reader } from './reader.ts'

export type ReaderKind = 'epoll' | 'pool'

const path = '/dev/fuse'

/** Pieces of one writev: IOV_MAX, less one for the header. */
const piecesMax = 1023

/** The answer has nobody to go to: interrupted before it came, or unmounted. */
const gone = new Set(['ENOENT', 'ENODEV', 'ECONNABORTED', 'EBADF'])

/**
 * One open /dev/fuse: messages in, answers out, notifications by threads of their own. Owns the descriptor;
 * nobody uses its number after `closed`, when the system may give it to another file.
 */
export class FuseDevice implements Channel {
  readonly fd: number
  readonly notifications: NotificationThreads
  /**
   * Resolves when the descriptor is closed: because the file system was `unmounted`, or because the
   * connection was `cut` (by `close`, by an administrator), in which case a dead mount may be left.
   */
  readonly closed: Promise<'unmounted' | 'cut'>
  readonly #log: Log
  #reader: Reader | undefined
  #poll: BusyPoll | undefined
  #usable = true
  #setClosed: (how: 'unmounted' | 'cut') => void = () => undefined

  /** Takes over a descriptor of /dev/fuse, mounted or not yet. */
  constructor(fd: number, log: Log) {
    this.fd = fd
    this.#log = log
    this.notifications = new NotificationThreads(fd, log)
    this.closed = new Promise(resolve => {
      this.#setClosed = resolve
    })
  }

  /** Opens an unconnected device. UsageError if this machine or user cannot. */
  static open(log: Log): FuseDevice {
    try {
      return new FuseDevice(openSync(path, constants.O_RDWR), log)
    } catch (thrown) {
      const { code } = thrown as NodeJS.ErrnoException
      if (code === 'ENOENT' || code === 'ENXIO' || code === 'ENODEV') {
        throw new UsageError(`${path} is missing: load the fuse kernel module (modprobe fuse)`)
      }
      if (code === 'EACCES' || code === 'EPERM') {
        throw new UsageError(`${path} may not be opened by this user: mount as root`)
      }
      throw new UsageError(`cannot open ${path}: ${messageOf(thrown)}`)
    }
  }

  /**
   * Begins to read. The device must be mounted: before that it has nothing to wait for. `poll`: for a reader on the event
   * loop.
   */
  read(receive: Receive, kind: ReaderKind, poll: BusyPoll): void {
    assert(this.#reader === undefined, 'a device is read once')
    const pool = new BufferPool()
    const receiveAwake: Receive = bytes => {
      poll.asked()
      return receive(bytes)
    }
    const events = {
      closing: async () => {
        this.#usable = false
        await this.notifications.stop()
      },
      ended: (error: Error | undefined) => {
        const code = error === undefined ? undefined : (error as NodeJS.ErrnoException).code
        if (error !== undefined && (code === undefined || !gone.has(code))) {
          this.#log.error('cannot read from the kernel', { error: error.message })
        }
        this.#setClosed(code === 'ENODEV' ? 'unmounted' : 'cut')
      },
    }
    if (kind === 'epoll') {
      try {
        this.#reader = readByEpoll(this.fd, pool, receiveAwake, events)
        this.#poll = poll
        return
      } catch (thrown) {
        this.#log.warn('reads requests by threads, more slowly', { reason: messageOf(thrown) })
      }
    }
    this.#reader = readByPool(this.fd, pool, receive, events)
  }

  /** The kernel keeps its requests until `resume`. False if this reader cannot stop. */
  pause(): boolean {
    return this.#reader?.pause() ?? true
  }

  resume(): void {
    this.#reader?.resume()
  }

  send(head: Buffer, headLength: number, data: readonly Uint8Array[]): 'sent' | 'gone' | 'refused' {
    while (this.#usable) {
      try {
        if (data.length === 0) writeSync(this.fd, head, 0, headLength)
        else writevSync(this.fd, [head.subarray(0, headLength), ...few(data)])
        this.#poll?.answered()
        return 'sent'
      } catch (thrown) {
        const { code } = thrown as NodeJS.ErrnoException
        if (code === 'EINTR' || code === 'EAGAIN') continue
        if (code !== undefined && gone.has(code)) return 'gone'
        this.#log.error('cannot answer the kernel', { error: messageOf(thrown) })
        return 'refused'
      }
    }
    return 'gone'
  }

  /**
   * Ends the connection, if the kernel has not: what it still asks fails with ECONNABORTED or ENOTCONN. Goes
   * on serving until no notification is under way.
   */
  async close(): Promise<void> {
    await this.notifications.stop()
    this.#usable = false
    if (this.#reader !== undefined) await this.#reader.close()
    else {
      closeSync(this.fd)
      this.#setClosed('cut')
    }
    this.notifications.settle()
  }
}

function few(pieces: readonly Uint8Array[]): readonly Uint8Array[] {
  return pieces.length <= piecesMax ? pieces : [Buffer.concat(pieces)]
}
