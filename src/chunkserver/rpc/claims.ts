import { checksumsLength } from '../../core/checksum.ts'
import type { FsError } from '../../core/errors.ts'
import type { BlockMeta } from '../../wire/gen/cairn/v1/blocks.ts'
import { bytesOf, required, toBlockId, toBlockLength } from '../../wire/validate.ts'
import type { BlockClaim } from '../blocks/block-verifier.ts'

/** A sender's claim with its form checked; its checksums own their memory. */
export function toClaim(given: BlockMeta | undefined, blockBytes: number): BlockClaim {
  const meta = required(given, 'put.block')
  const id = toBlockId(meta.id, 'put.block.id')
  const length = toBlockLength(meta.length, 'put.block.length', blockBytes)
  const checksums = bytesOf(meta.checksums, checksumsLength(length), 'put.block.checksums')
  return { id, length, checksums: new Uint8Array(checksums) }
}

/** A frame without the expected form: the peer speaks another language, and the stream ends. */
export const isForm = (error: FsError): boolean => error.code === 'EPROTO'
