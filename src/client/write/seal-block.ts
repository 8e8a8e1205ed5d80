import type { Timers } from '../../core/env.ts'
import {
  BlockIdHasher,
  blockIdOf,
  type Checksums,
  checksumBytes,
  checksumsLength,
} from '../../core/checksum.ts'
import { assert } from '../../core/assert.ts'
import { pieceBytes } from '../../core/limits.ts'
import { KiB } from '../../core/units.ts'
import { nextTurn } from '../waiting.ts'
import type { SealedBlock } from './sealed.ts'

/** Hashed at one go: SHA-256 and xxh64 of it take about 0.4 ms, less than a kernel request may wait. */
const sliceBytes = 512 * KiB
assert(sliceBytes % pieceBytes === 0, 'a slice is whole pieces')

/** Names a block of a dedup domain and makes its checksums, in slices between which other work runs. */
export async function sealBlock(
  data: Buffer,
  domain: Uint8Array,
  checksums: Checksums,
  timers: Timers,
): Promise<SealedBlock> {
  if (data.length <= sliceBytes) return sealSmall(data, domain, checksums)
  const hasher = new BlockIdHasher(domain)
  for (let at = 0; at < data.length; at += sliceBytes) {
    if (at > 0) await nextTurn(timers)
    hasher.update(data.subarray(at, at + sliceBytes))
  }
  const id = hasher.digest()
  const made = Buffer.allocUnsafe(checksumsLength(data.length))
  // Separate slices again: the checksums are seeded with the id.
  for (
    let at = 0, piece = 0;
    at < data.length;
    at += 4 * sliceBytes, piece += (4 * sliceBytes) / pieceBytes
  ) {
    await nextTurn(timers)
    made.set(checksums.make(id, data.subarray(at, at + 4 * sliceBytes), piece), piece * checksumBytes)
  }
  return { id, domain, checksums: made }
}

export function sealSmall(data: Buffer, domain: Uint8Array, checksums: Checksums): SealedBlock {
  const id = blockIdOf(data, domain)
  return { id, domain, checksums: checksums.make(id, data) }
}
