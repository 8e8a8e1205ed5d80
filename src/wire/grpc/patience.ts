/**
 * For peers that connect, with or without a good certificate, and then say nothing, or say it a byte at a time: neither
 * TLS' handshake nor HTTP/2's keepalive tells them from those that have something to say.
 */
import {
  constants,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import { second } from '../../core/units.ts'
import { closeGraceMs } from './options.ts'

/** The first frame of a stream, and the request of a single call, are there by then. */
export const firstWordMs = 30 * second
/** A connection without streams is of no use: ours has one for each stream or call. */
export const idleMs = 60 * second

/** Ends a connection that has no stream for a while, and single calls whose request does not arrive. */
export function watchSession(session: ServerHttp2Session, isLong: (path: string) => boolean): void {
  let open = 0
  let idle = setTimeout(() => session.destroy(), idleMs)
  session.once('close', () => clearTimeout(idle))
  session.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    open++
    clearTimeout(idle)
    stream.once('close', () => {
      open--
      if (open === 0 && !session.destroyed) idle = setTimeout(() => session.destroy(), idleMs)
    })
    // Who was answered and does not end its side keeps nothing of ours.
    stream.once('finish', () => {
      const late = setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), closeGraceMs)
      stream.once('close', () => clearTimeout(late))
    })
    if (isLong(String(headers[':path']))) return
    const late = setTimeout(() => stream.close(constants.NGHTTP2_CANCEL), firstWordMs)
    stream.once('end', () => clearTimeout(late))
    stream.once('close', () => clearTimeout(late))
  })
}

/** Of one kind, of one identity, or without TLS of one address: more mounts than may be on a machine have. */
const streamsMax = 2048

/** How many streams are open, of whom. */
export class OpenStreams {
  readonly #count = new Map<string, number>()

  /** False: there are enough of them. Else `ended` is to be called once. */
  admits(whose: string): boolean {
    const count = this.#count.get(whose) ?? 0
    if (count >= streamsMax) return false
    this.#count.set(whose, count + 1)
    return true
  }

  ended(whose: string): void {
    const left = (this.#count.get(whose) ?? 1) - 1
    if (left > 0) this.#count.set(whose, left)
    else this.#count.delete(whose)
  }
}
