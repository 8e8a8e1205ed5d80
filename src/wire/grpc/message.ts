/**
 * What is handed to grpc-js as a "serialized message". It frames a message by `length` or `byteLength`
 * and `copy(target, offset)` only, so that an object with just these saves joining the segments of a
 * frame first: its bytes are copied once, into the HTTP/2 frame. This rests on grpc-js' internals; the
 * round-trip tests fail if they change.
 */
import { assert } from '../../core/assert.ts'
import { messageBytesMax } from '../../core/limits.ts'
import type { Codec } from '../../core/network.ts'

class Segments {
  readonly length: number
  readonly #segments: readonly Uint8Array[]

  constructor(segments: readonly Uint8Array[]) {
    this.#segments = segments
    this.length = segments.reduce((sum, segment) => sum + segment.length, 0)
  }

  get byteLength(): number {
    return this.length
  }

  copy(target: Buffer, targetStart = 0): number {
    let at = targetStart
    for (const segment of this.#segments) {
      target.set(segment, at)
      at += segment.length
    }
    return this.length
  }
}

export function encodeMessage<T>(codec: Codec<T>, frame: T): Buffer {
  const message = codec.encodeSegments
    ? new Segments(codec.encodeSegments(frame))
    : asBuffer(codec.encode(frame))
  assert(message.length <= messageBytesMax, () => `message of ${message.length} bytes`)
  return message as Buffer
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Messages pass grpc-js as they are: encoding and decoding is done by links, which know what to do about errors. */
export const asIs = (message: Buffer): Buffer => message
