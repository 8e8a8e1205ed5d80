import path from 'node:path'
import { ChunkserverNode } from '../../chunkserver/chunkserver-node.ts'
import type { BlockId } from '../../core/ids.ts'
import { MiB, second } from '../../core/units.ts'
import { collectEvery } from '../../env/collect-every.ts'
import { version } from '../../service/version.ts'
import { measureChunkserver } from '../metrics/chunkserver-metrics.ts'
import { type Started, takeFolder, type World } from './daemon.ts'
import { keepOwnIdentity } from './keep-own-identity.ts'
import { openBlockStore } from './open-block-store.ts'
import { hostIdentity } from './this-host.ts'

export interface ChunkserverOptions {
  readonly data: string
  readonly master: string
  readonly listen: string
  readonly zone: string
  readonly capacity: number | undefined
  /** Whether mounts on this machine may read block files by themselves. */
  readonly shortCircuit: boolean
  /** Seconds. */
  readonly slow: number
}

/** Nobody has it: to ask whether there is an answer. */
const noBlock = '0'.repeat(64) as BlockId

/** A node whose master is away is of use for reads: it counts as started after this long. */
const acceptedWithinMs = 5 * second
/** Data that may pass between two collections: buffers of blocks are most of its memory. */
const collectedBytes = 48 * MiB

export async function startChunkserver(
  { env, network, identity }: World,
  options: ChunkserverOptions,
): Promise<Started> {
  const folder = path.resolve(options.data)
  const lock = await takeFolder(folder)
  const stop = new AbortController()
  let died: (error: Error) => void = () => undefined
  const death = new Promise<never>((_resolve, reject) => {
    died = reject
  })
  death.catch(() => undefined)
  const { store, checksums } = await openBlockStore(env, folder, error => died(error), {
    ...(options.capacity === undefined ? {} : { capacityBytes: options.capacity }),
    ...(options.shortCircuit ? { sharedAs: folder } : {}),
  })
  try {
    const node = new ChunkserverNode(env, network, store, checksums, {
      masterAddress: options.master,
      zone: options.zone,
      host: hostIdentity(),
      program: version,
      slowMs: options.slow * second,
      onMoved: collectEvery(collectedBytes),
    })
    const forget = keepOwnIdentity(env, network, identity, options.master)
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
        await forget()
        await listener.close()
        await store.close()
        lock.release()
      },
      measure: metrics => measureChunkserver(metrics, node, store),
      // Both of its threads: what reads the index, and what writes it.
      alive: async () => {
        await Promise.all([store.index.ask('totals', {}), store.index.ask('lookup', { id: noBlock })])
      },
      unready: () =>
        node.isAttached ? store.space.status().refusing : `not attached to the master at ${options.master}`,
    }
  } catch (error) {
    stop.abort()
    await store.close()
    throw error
  }
}

async function accepted(node: ChunkserverNode, sleep: (ms: number) => Promise<void>): Promise<void> {
  for (let waited = 0; !node.accepted && waited < acceptedWithinMs; waited += 10) await sleep(10)
}
