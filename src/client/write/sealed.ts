import type { BlockId } from '../../core/ids.ts'
import type { StoredBlock } from '../../wire/gen/cairn/v1/session.ts'
import type { Location } from '../../wire/gen/cairn/v1/common.ts'
import type { Chunk } from './chunk-pool.ts'

/** The name and checksums of a block that is to be stored. */
export interface SealedBlock {
  readonly id: BlockId
  /** What the id was made with. */
  readonly domain: Uint8Array
  readonly checksums: Buffer
}

/** A block that is stored, as a commit names it, and where a reader finds it. */
export interface Stored {
  readonly block: StoredBlock
  /** Empty for one that existed: the master is asked when it is read. */
  readonly locations: readonly Location[]
}

/**
 * Bytes of a file on their way to the cluster as one block. Immutable, except that a truncation
 * shortens what of the block the file will show.
 */
export interface SealedRange {
  /** File offset of the block's first byte. */
  readonly offset: number
  /** End of what the file shows of it; `offset` when nothing. */
  end: number
  /** From here on the bytes count as dirty; before, they were sealed before and come along. */
  readonly dirtyFrom: number
  readonly data: Buffer
  readonly chunk: Chunk
  block?: SealedBlock
  stored?: Stored
}
