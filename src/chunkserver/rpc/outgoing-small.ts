import type { Log } from '../../core/env.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import type { BlockId } from '../../core/ids.ts'
import { dataMessageBytes, pieceBytes, smallAtOnce } from '../../core/limits.ts'
import type { Link } from '../../core/network.ts'
import type { BlocksDown, BlocksUp, GetSmall, SmallGot } from '../../wire/gen/cairn/v1/blocks.ts'
import { listOf, toBlockId } from '../../wire/validate.ts'
import type { BlockStore } from '../blocks/block-store.ts'
import type { ReadPermits } from './outgoing-get.ts'

export interface SmallParts {
  readonly store: BlockStore
  readonly reads: ReadPermits
  readonly env: { readonly log: Log }
  /** Throws where the token of this place gives no right to its block. */
  readonly check: (index: number) => void
}

/**
 * Answers one question for many small blocks: rows of the index, read in one batch, a message at a time. What cannot be
 * read, or not by this reader, is left out: the reader asks for it alone and hears why. Resolves with the bytes that went, early when
 * `cancelled`.
 */
export async function sendSmall(
  parts: SmallParts,
  link: Link<BlocksDown, BlocksUp>,
  get: GetSmall,
  cancelled: () => boolean,
): Promise<number> {
  const ids = listOf(get.ids, smallAtOnce, 'get_small.ids').map(id => toBlockId(id, 'get_small.ids'))
  let sent = 0
  const found = await parts.reads.run(() => Promise.all(ids.map((id, index) => find(parts, id, index))))
  for (const [blocks, last] of messages(found.filter(block => block !== undefined))) {
    if (cancelled()) return sent
    link.send({ item: { $case: 'small', value: { call: get.call, blocks, last } } })
    for (const { data } of blocks) sent += data.length
    await link.drained()
  }
  return sent
}

async function find(
  { store, check, env: { log } }: SmallParts,
  id: BlockId,
  index: number,
): Promise<SmallGot | undefined> {
  try {
    check(index)
    const found = await store.readUnlessInFile(id)
    if (!('row' in found) || found.row.length > pieceBytes) return undefined
    const { bytes } = await found.read(0, found.row.length)
    return { index, checksums: found.row.checksums, data: bytes }
  } catch (error) {
    if (FsError.from(error).code !== 'ENOENT')
      log.debug('a small block is left to be asked for alone', { block: id, error: messageOf(error) })
    return undefined
  }
}

/** In messages of at most `dataMessageBytes` of data; at least one, and which is the last. */
function* messages(blocks: readonly SmallGot[]): Generator<[SmallGot[], boolean]> {
  let message: SmallGot[] = []
  let bytes = 0
  for (const block of blocks) {
    if (bytes + block.data.length > dataMessageBytes) {
      yield [message, false]
      message = []
      bytes = 0
    }
    message.push(block)
    bytes += block.data.length
  }
  yield [message, true]
}
