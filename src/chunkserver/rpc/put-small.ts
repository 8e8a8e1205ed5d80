import { FsError } from '../../core/errors.ts'
import type { PutOutcome, PutSmall, SmallBlock } from '../../wire/gen/cairn/v1/blocks.ts'
import { listOf } from '../../wire/validate.ts'
import { BlockVerifier } from '../blocks/block-verifier.ts'
import { isSmall, rowBytesMax, storedBytes } from '../blocks/stored-bytes.ts'
import { isForm, toClaim } from './claims.ts'
import { failureOf, type PutParts } from './incoming-put.ts'

const smallBlocksMax = 4096

/**
 * Stores whole small blocks, all with one sync; each succeeds or fails for itself. Throws for what has not
 * the form of the protocol; the promise never rejects.
 */
export function putSmall(parts: PutParts, put: PutSmall): Promise<PutOutcome[]> {
  const blocks = listOf(put.blocks, smallBlocksMax, 'put_small.blocks')
  return Promise.all(blocks.map((block, index) => putOne(parts, block, index)))
}

async function putOne(parts: PutParts, block: SmallBlock, index: number): Promise<PutOutcome> {
  const { authority, store, checksums } = parts
  const node = block.grant?.node ?? 0n
  try {
    const claim = toClaim(block.block, authority.blockBytes)
    if (!isSmall(claim.length))
      throw new FsError(
        'EINVAL',
        `block ${claim.id} has ${claim.length} bytes, a small one at most ${rowBytesMax}`,
      )
    const grant = authority.checkGrant(block.grant, claim)
    const verifier = new BlockVerifier(checksums, claim, { verifyId: true, domain: grant.dedupDomain })
    verifier.update(block.data)
    if (!verifier.complete)
      throw new FsError('EINVAL', `block ${claim.id} has ${claim.length} bytes, ${block.data.length} came`)
    const bytes = storedBytes(claim.length)
    store.space.promise(bytes)
    try {
      const generation = await store.putRow(claim, grant.generation, block.data)
      return { node, index, receipt: authority.receipt(grant, claim, generation), error: undefined }
    } finally {
      store.space.settle(bytes)
    }
  } catch (error) {
    const failure = FsError.from(error)
    return failureOf(node, isForm(failure) ? new FsError('EINVAL', failure.message) : failure, index)
  }
}
