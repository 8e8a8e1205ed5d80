import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { BlockIndex } from '../../chunkserver/blocks/block-index.ts'
import { BlockStore } from '../../chunkserver/blocks/block-store.ts'
import type { IndexReply, IndexRequest } from '../../chunkserver/blocks/index-protocol.ts'
import { ChunkserverNode } from '../../chunkserver/chunkserver-node.ts'
import { RealDisk } from '../../chunkserver/disk/real-disk.ts'
import { createChecksums } from '../../core/checksum.ts'
import { messageOf, UsageError } from '../../core/errors.ts'
import { second } from '../../core/units.ts'
import { WorkerLane } from '../../env/worker-lane.ts'
import { version } from '../../service/version.ts'
import type { Started, World } from './daemon.ts'
import { hostIdentity } from './this-host.ts'

export interface ChunkserverOptions {
  readonly data: string
  readonly master: string
  readonly listen: string
  readonly zone: string
  readonly capacity?: number
}

/** A node whose master is away is of use for reads: it counts as started after this long. */
const acceptedWithinMs = 5 * second

export async function startChunkserver(
  { env, network }: World,
  options: ChunkserverOptions,
): Promise<Started> {
  const folder = path.resolve(options.data)
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new UsageError(`cannot use the folder ${folder}: ${messageOf(error)}`)
  }
  const checksums = await createChecksums()
  const stop = new AbortController()
  let died: (error: Error) => void = () => undefined
  const death = new Promise<never>((_resolve, reject) => {
    died = reject
  })
  death.catch(() => undefined)
  const lane = (role: 'writer' | 'reader') =>
    WorkerLane.start<IndexRequest, IndexReply>({
      module: new URL('../../chunkserver/blocks/index-worker.js', import.meta.url),
      data: { folder, role },
      name: `index-${role}`,
      died: error => died(error),
    })
  const index = new BlockIndex(await lane('writer'), await lane('reader'))
  try {
    const space = options.capacity === undefined ? {} : { capacityBytes: options.capacity }
    const store = await BlockStore.open({ env, disk: new RealDisk(folder), index, checksums, ...space })
    const node = new ChunkserverNode(env, network, store, checksums, {
      masterAddress: options.master,
      zone: options.zone,
      host: hostIdentity(),
      program: version,
    })
    const listener = await network.listen(options.listen, serving => node.register(serving))
    const running = node.run(listener.address, stop.signal)
    const ended = Promise.race([running, death])
    await Promise.race([ended, accepted(node, env.timers.sleep.bind(env.timers))])
    env.log.info('Serving', { address: listener.address, data: folder, accepted: node.accepted })
    return {
      address: listener.address,
      ended,
      stop: async () => {
        stop.abort()
        await running.catch(() => undefined)
        await listener.close()
        await index.close()
      },
    }
  } catch (error) {
    stop.abort()
    await index.close()
    throw error
  }
}

async function accepted(node: ChunkserverNode, sleep: (ms: number) => Promise<void>): Promise<void> {
  for (let waited = 0; !node.accepted && waited < acceptedWithinMs; waited += 10) await sleep(10)
}
