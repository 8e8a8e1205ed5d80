import { BinaryReader, type BinaryWriter } from '@bufbuild/protobuf/wire'
import { FsError, messageOf } from '../core/errors.ts'
import type { CallDef, Codec, StreamDef } from '../core/network.ts'

/**
 * Most numbers (tags, lengths, values) in one message. Our own stay far below, while a few bytes can stand for an
 * object of hundreds: a message of 20 MiB of nothing but empty items would cost a daemon a gigabyte.
 */
export const numbersMax = 2 ** 20

/** What ts-proto generates for a message. */
export interface MessageFns<T> {
  encode(message: T, writer?: BinaryWriter): BinaryWriter
  decode(input: BinaryReader | Uint8Array, length?: number): T
}

/** A protobuf message as a frame. */
export function messageCodec<T>(message: MessageFns<T>, name: string): Codec<T> {
  return {
    encode: frame => message.encode(frame).finish(),
    decode: bytes => decodeWhole(message, name, bytes),
  }
}

/** Decodes all of `bytes`, or throws EPROTO: generated code stops in silence at a zero tag. */
export function decodeWhole<T>(message: MessageFns<T>, name: string, bytes: Uint8Array): T {
  const reader = readerOf(bytes)
  let frame: T
  try {
    frame = message.decode(reader)
  } catch (thrown) {
    throw new FsError('EPROTO', `Cannot decode ${name}: ${messageOf(thrown)}`, { cause: thrown })
  }
  if (reader.pos !== bytes.length)
    throw new FsError('EPROTO', `Cannot decode ${name}: ends at byte ${reader.pos} of ${bytes.length}`)
  return frame
}

/** Counts numbers where there can be too many: each takes a byte at least, so that most messages need no count. */
function readerOf(bytes: Uint8Array): BinaryReader {
  const reader = new BinaryReader(bytes)
  if (bytes.length <= numbersMax) return reader
  let left = numbersMax
  const counted = <Result>(read: (this: BinaryReader) => Result) =>
    function (this: BinaryReader): Result {
      if (--left < 0) throw new RangeError(`more than ${numbersMax} numbers in it`)
      return read.call(this)
    }
  const varints = reader as unknown as Varints
  varints.uint32 = counted(varints.uint32)
  varints.varint64 = counted(varints.varint64)
  return reader
}

/** All readers of varints in a BinaryReader come down to these two, which it has as own properties. */
interface Varints {
  uint32: (this: BinaryReader) => number
  varint64: (this: BinaryReader) => void
}

export function stream<Up, Down>(path: string, up: Codec<Up>, down: Codec<Down>): StreamDef<Up, Down> {
  return { path, up, down }
}

export function unary<Request, Response>(
  path: string,
  request: Codec<Request>,
  response: Codec<Response>,
): CallDef<Request, Response> {
  return { path, request, response }
}
