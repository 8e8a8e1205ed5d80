/**
 * Frames of the Blocks service. Those that carry file data are framed by hand: `data` is the last
 * field, so a frame is a small head made here followed by the caller's own bytes, which a transport
 * can write without copying (`encodeSegments`). The bytes are the same as those of the generated
 * code. Decoding is the generated code, whose byte fields are views.
 */
import { BinaryWriter } from '@bufbuild/protobuf/wire'
import type { Codec } from '../core/network.ts'
import { decodeWhole, type MessageFns } from './codec.ts'
import { BlocksDown, BlocksUp, GetData, PutData, type PutSmall, SmallBlock } from './gen/cairn/v1/blocks.ts'

/** Tags of the fields that hold data or lead to it: number << 3 | 2 (length-delimited). */
const tag = {
  upData: (3 << 3) | 2,
  upPutSmall: (4 << 3) | 2,
  smallBlocks: (2 << 3) | 2,
  downData: (3 << 3) | 2,
  data: (15 << 3) | 2,
} as const

const none = new Uint8Array(0)

function varintBytes(value: number): number {
  let bytes = 1
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) bytes++
  return bytes
}

/** Bytes of the data field: its tag (one byte), its length and itself; an empty one is left out. */
function dataFieldBytes(data: Uint8Array): number {
  return data.length === 0 ? 0 : 1 + varintBytes(data.length) + data.length
}

/** [oneof tag, length, fields before data, data tag, data length] and the data. */
function framed(oneof: number, before: Uint8Array, data: Uint8Array): Uint8Array[] {
  const head = new BinaryWriter()
    .uint32(oneof)
    .uint32(before.length + dataFieldBytes(data))
    .raw(before)
  if (data.length === 0) return [head.finish()]
  return [head.uint32(tag.data).uint32(data.length).finish(), data]
}

function putSmallSegments(put: PutSmall): Uint8Array[] {
  const heads = put.blocks.map(block => SmallBlock.encode({ ...block, data: none }).finish())
  const call = new BinaryWriter()
  if (put.call !== 0n) call.uint32((1 << 3) | 0).uint64(put.call)
  const callField = call.finish()
  const items = put.blocks.map((block, index) => {
    const bytes = (heads[index] ?? none).length + dataFieldBytes(block.data)
    return { bytes, field: 1 + varintBytes(bytes) + bytes }
  })
  const total = items.reduce((sum, item) => sum + item.field, callField.length)
  const segments: Uint8Array[] = []
  let writer = new BinaryWriter().uint32(tag.upPutSmall).uint32(total).raw(callField)
  for (const [index, { data }] of put.blocks.entries()) {
    writer
      .uint32(tag.smallBlocks)
      .uint32(items[index]?.bytes ?? 0)
      .raw(heads[index] ?? none)
    if (data.length === 0) continue
    segments.push(writer.uint32(tag.data).uint32(data.length).finish(), data)
    writer = new BinaryWriter()
  }
  const rest = writer.finish()
  if (rest.length > 0) segments.push(rest)
  return segments
}

function upSegments(frame: BlocksUp): Uint8Array[] {
  const { item } = frame
  if (item?.$case === 'data') {
    const { call, data } = item.value
    return framed(tag.upData, PutData.encode({ call, data: none }).finish(), data)
  }
  if (item?.$case === 'putSmall') return putSmallSegments(item.value)
  return [BlocksUp.encode(frame).finish()]
}

function downSegments(frame: BlocksDown): Uint8Array[] {
  const { item } = frame
  if (item?.$case !== 'data') return [BlocksDown.encode(frame).finish()]
  return framed(tag.downData, GetData.encode({ ...item.value, data: none }).finish(), item.value.data)
}

function joined(segments: Uint8Array[]): Uint8Array {
  const [only] = segments
  return segments.length === 1 && only !== undefined ? only : Buffer.concat(segments)
}

function segmentedCodec<T>(
  message: MessageFns<T>,
  name: string,
  encodeSegments: (frame: T) => Uint8Array[],
): Codec<T> {
  return {
    encode: frame => joined(encodeSegments(frame)),
    encodeSegments,
    decode: bytes => decodeWhole(message, name, bytes),
  }
}

export const blocksUpCodec: Codec<BlocksUp> = segmentedCodec(BlocksUp, 'BlocksUp', upSegments)
export const blocksDownCodec: Codec<BlocksDown> = segmentedCodec(BlocksDown, 'BlocksDown', downSegments)
