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
