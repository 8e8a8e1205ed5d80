import { BlockIndex } from '../../chunkserver/blocks/block-index.ts'
import { BlockStore, type StoreOptions } from '../../chunkserver/blocks/block-store.ts'
import type { IndexReply, IndexRequest } from '../../chunkserver/blocks/index-protocol.ts'
import type { IndexWorkerData } from '../../chunkserver/blocks/index-worker.ts'
import type { SpaceOptions } from '../../chunkserver/blocks/space.ts'
import { RealDisk } from '../../chunkserver/disk/real-disk.ts'
import { type Checksums, createChecksums } from '../../core/checksum.ts'
import type { Env } from '../../core/env.ts'
import { FsError, messageOf, UsageError } from '../../core/errors.ts'
import { WorkerLane } from '../../env/worker-lane.ts'

export interface OpenedStore {
  readonly store: BlockStore
  readonly checksums: Checksums
}

/**
 * Opens the block store in `folder`, which exists and is locked by this process, with a thread that writes
 * its index and one that reads it. UsageError if the folder must not be used. `died` is called if a thread
 * ends by itself or the index turns out to be damaged: the process must end too.
 */
export async function openBlockStore(
  env: Env,
  folder: string,
  died: (error: Error) => void,
  options: Pick<StoreOptions, keyof SpaceOptions | 'sharedAs' | 'rebuild'> = {},
): Promise<OpenedStore> {
  const writer = await startLane(folder, 'writer', died)
  const reader = await startLane(folder, 'reader', died)
  const refusal = (why: Error) => new UsageError(`Cannot use ${folder}: ${messageOf(why)}`, { cause: why })
  const index = new BlockIndex(writer, reader, why => died(refusal(why)))
  try {
    const checksums = await createChecksums()
    const disk = new RealDisk(folder)
    return {
      store: await BlockStore.open({ env, disk, index, checksums, gone: died, ...options }),
      checksums,
    }
  } catch (error) {
    await index.close()
    throw error instanceof UsageError || error instanceof FsError ? refusal(error) : error
  }
}

function startLane(
  folder: string,
  role: IndexWorkerData['role'],
  died: (error: Error) => void,
): Promise<WorkerLane<IndexRequest, IndexReply>> {
  return WorkerLane.start({
    module: new URL('../../chunkserver/blocks/index-worker.js', import.meta.url),
    data: { folder, role } satisfies IndexWorkerData,
    name: `index-${role}`,
    youngMb: 8,
    died,
  })
}
