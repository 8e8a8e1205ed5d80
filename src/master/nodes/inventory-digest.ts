/** The arithmetic of inventory digests (proto/cairn/v1/nodes.proto, InventoryDigest). Pure. */
import { blockIdBytes } from '../../core/ids.ts'

export const prefixBitsMax = 12
/** Instances that a bucket should have, so that listing one is cheap and digests are few. */
const bucketInstances = 1000

export function prefixBitsFor(instances: number): number {
  const bits = Math.ceil(Math.log2(Math.max(1, instances) / bucketInstances))
  return Math.min(prefixBitsMax, Math.max(2, bits))
}

/** First and last block id of a bucket. */
export function bucketBounds(
  bucket: number,
  prefixBits: number,
): { readonly from: Buffer; readonly to: Buffer } {
  const from = Buffer.alloc(blockIdBytes)
  const to = Buffer.alloc(blockIdBytes, 0xff)
  const shift = 16 - prefixBits
  from.writeUInt16BE(bucket << shift, 0)
  to.writeUInt16BE((bucket << shift) | (2 ** shift - 1), 0)
  return { from, to }
}

/** The bytes whose xxh64 (seed 0) stands for an instance. */
export function instanceBytes(id: Uint8Array, generation: bigint, length: number): Buffer {
  const bytes = Buffer.alloc(blockIdBytes + 12)
  bytes.set(id)
  bytes.writeBigUInt64BE(generation, blockIdBytes)
  bytes.writeUInt32BE(length, blockIdBytes + 8)
  return bytes
}
