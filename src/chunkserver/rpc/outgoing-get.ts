import { checksumBytes } from '../../core/checksum.ts'
import { FsError } from '../../core/errors.ts'
import { dataMessageBytes, pieceBytes } from '../../core/limits.ts'
import type { Link } from '../../core/network.ts'
import type { BlocksDown, BlocksUp, GetBlock, GetData } from '../../wire/gen/cairn/v1/blocks.ts'
import { toBlockId } from '../../wire/validate.ts'
import type { BlockReader } from '../blocks/block-reader.ts'
import type { BlockStore } from '../blocks/block-store.ts'
import type { BlockRow } from '../blocks/index-protocol.ts'
import type { LentBytes } from '../disk/disk.ts'

/** What `sendBlock` needs of a semaphore over the memory of all reads. */
export interface ReadPermits {
  run<T>(task: () => Promise<T>): Promise<T>
}

/**
 * Answers one get: whole pieces around the range, a message at a time, each read when the one before has
 * left, and as `pace` lets it go. Rejects with what the reader is to be told; resolves early when `cancelled`, with the bytes that went.
 */
export async function sendBlock(
  store: BlockStore,
  link: Link<BlocksDown, BlocksUp>,
  get: GetBlock,
  permits: ReadPermits,
  cancelled: () => boolean,
  pace: (bytes: number) => Promise<unknown>,
): Promise<number> {
  const id = toBlockId(get.id, 'get.id')
  const reader = get.local ? await store.readUnlessInFile(id) : await store.read(id, get.length)
  if (!('row' in reader)) {
    link.send({ item: { $case: 'data', value: inFile(get.call, reader) } })
    return 0
  }
  let sent = 0
  try {
    const { start, end } = widened(get, reader.row.length)
    for (let at = start; at < end && !cancelled(); at += dataMessageBytes) {
      const until = Math.min(end, at + dataMessageBytes)
      // Others are not to wait for the memory of who waits for a rate.
      await pace(until - at)
      if (cancelled()) break
      await permits.run(async () => {
        const { bytes, release } = await readOrReport(store, reader, at, until - at)
        const value = { ...message(get.call, reader, at, bytes), last: until === end }
        link.send({ item: { $case: 'data', value } }, release)
        sent += bytes.length
      })
      // Outside: who takes nothing keeps nobody else from reading.
      await link.drained()
    }
    return sent
  } finally {
    await reader.close()
  }
}

function message(call: bigint, { row }: BlockReader, offset: number, data: Uint8Array) {
  const first = offset / pieceBytes
  const count = Math.ceil(data.length / pieceBytes)
  const checksums = row.checksums.subarray(first * checksumBytes, (first + count) * checksumBytes)
  return { call, offset, blockLength: row.length, checksums, data, inFile: false }
}

/** For who reads the file itself. */
function inFile(call: bigint, { length, checksums }: BlockRow): GetData {
  const data = new Uint8Array(0)
  return { call, offset: 0, blockLength: length, checksums, data, last: true, inFile: true }
}

/** The whole pieces that hold [offset, offset + length) of a block. Throws EINVAL for none. */
function widened({ offset, length }: GetBlock, blockLength: number): { start: number; end: number } {
  if (length < 1 || offset >= blockLength)
    throw new FsError('EINVAL', `get: ${length} bytes at ${offset} of a block of ${blockLength}`)
  const start = offset - (offset % pieceBytes)
  const end = Math.min(blockLength, Math.ceil((offset + length) / pieceBytes) * pieceBytes)
  return { start, end }
}

async function readOrReport(
  store: BlockStore,
  reader: BlockReader,
  at: number,
  length: number,
): Promise<LentBytes> {
  try {
    return await reader.read(at, length)
  } catch (error) {
    const failure = FsError.from(error)
    if (failure.code === 'EIO') store.noteDamage(reader.row, failure.message)
    throw failure
  }
}
