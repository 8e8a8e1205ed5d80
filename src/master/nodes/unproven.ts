/**
 * Files that a node has, but no row of, because its index was lost or put back: which of them are the blocks that they are
 * named by. The node has the SHA-256 of their bytes, this side the dedup domains; neither learns the other's from it, and a
 * node that only knows a block's id is told nothing.
 */
import { blockIdOfHash } from '../../core/checksum.ts'
import { blockIdBytes } from '../../core/ids.ts'
import { unprovenAtOnce } from '../../core/limits.ts'
import type { UnprovenBlock } from '../../wire/gen/cairn/v1/nodes.ts'
import { bytesOf, listOf, toBlockId, toBlockLength } from '../../wire/validate.ts'
import type { Blocks } from '../store/blocks.ts'

/** Ids of those that are. Throws EPROTO for what is no such list. */
export function provenOf(blocks: Blocks, wire: readonly UnprovenBlock[]): Uint8Array[] {
  return listOf(wire, unprovenAtOnce, 'heartbeat.unproven')
    .filter(({ id, sha256, length }) => {
      const block = toBlockId(id, 'heartbeat.unproven.id')
      const content = bytesOf(sha256, blockIdBytes, 'heartbeat.unproven.sha256')
      const owner = blocks.owner(id)
      return (
        owner?.length === toBlockLength(length, 'heartbeat.unproven.length') &&
        owner.domain.length > 0 &&
        blockIdOfHash(content, owner.domain) === block
      )
    })
    .map(({ id }) => id)
}
