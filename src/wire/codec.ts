import { BinaryReader, type BinaryWriter } from '@bufbuild/protobuf/wire'
import { FsError, messageOf } from '../core/errors.ts'
import type { CallDef, Codec, StreamDef } from '../core/network.ts'

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
  const reader = new BinaryReader(bytes)
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
