import path from 'node:path'
import { must } from '../../core/assert.ts'
import type { Clock } from '../../core/env.ts'
import { blockBytesDefault, copiesDefault } from '../../core/limits.ts'
import { second } from '../../core/units.ts'
import { WorkerLane } from '../../env/worker-lane.ts'
import type { EngineInput, EngineOutput } from '../../master/engine/io.ts'
import type { EngineData } from '../../master/rpc/open-engine.ts'
import { MasterServer } from '../../master/rpc/server.ts'
import { leaseSettings } from '../../master/engine/settings.ts'
import { version } from '../../service/version.ts'
import { DiskRoom } from '../../service/disk-room.ts'
import { type Started, takeFolder, type World } from './daemon.ts'

/** How old what is shown of the process may be. */
const sampleMs = 1 * second

export interface MasterOptions {
  readonly data: string
  readonly listen: string
  readonly copies: number | undefined
  readonly blockSize: number | undefined
  /** Seconds. */
  readonly leaseTime: number | undefined
}

/** A master over its data folder, which is formatted as a new cluster if it is empty. */
export async function startMaster({ env, network }: World, options: MasterOptions): Promise<Started> {
  const folder = path.resolve(options.data)
  const lock = await takeFolder(folder)
  const copies = options.copies ?? copiesDefault
  const data: EngineData = {
    database: path.join(folder, 'master.db'),
    format: {
      cluster: env.random.bytes(16),
      blockBytes: options.blockSize ?? blockBytesDefault,
      copies,
      minCopies: Math.min(2, copies),
      created: env.clock.wall(),
    },
    program: version,
    settings: options.leaseTime === undefined ? {} : leaseSettings(options.leaseTime * second),
  }
  let fail: (error: Error) => void = () => undefined
  const ended = new Promise<void>((_resolve, reject) => {
    fail = reject
  })
  // Whoever stops before it fails has no use for the failure.
  ended.catch(() => undefined)
  try {
    const lane = await WorkerLane.start<readonly EngineInput[], readonly EngineOutput[]>({
      module: new URL('../../master/rpc/engine-worker.js', import.meta.url),
      data,
      name: 'engine',
      died: fail,
    })
    const room = await DiskRoom.watch(folder, env)
    try {
      const server = await MasterServer.start(env, network, lane, {
        listen: options.listen,
        rssBytes: sampled(env.clock, () => process.memoryUsage.rss()),
        diskFull: () => room.full,
        diskExhausted: () => room.exhausted(),
        fsck: oneAfterTheOther(() => checkDatabase(data.database)),
        failed: error => fail(error instanceof Error ? error : new Error(String(error))),
      })
      env.log.info('Serving', { address: server.address, data: folder })
      const stop = async () => {
        await server.close()
        room.close()
        lock.release()
      }
      return { address: server.address, ended, stop }
    } catch (error) {
      room.close()
      await lane.close()
      throw error
    }
  } catch (error) {
    lock.release()
    throw error
  }
}

/** The kernel takes 0.1 ms to tell, and it goes with every batch. */
function sampled(clock: Clock, measure: () => number): () => number {
  let measuredAt = Number.NEGATIVE_INFINITY
  let value = 0
  return () => {
    const now = clock.now()
    if (now - measuredAt > sampleMs) {
      measuredAt = now
      value = measure()
    }
    return value
  }
}

/** Each check has a thread of its own, whose memory goes with it. */
async function checkDatabase(database: string): Promise<Uint8Array> {
  const lane = await WorkerLane.start<null, Uint8Array>({
    module: new URL('../../master/rpc/fsck-worker.js', import.meta.url),
    data: database,
    name: 'fsck',
    // Whoever asked hears of it; nobody else depends on this thread.
    died: () => undefined,
  })
  try {
    const [reply] = await lane.run([null])
    return must(reply, 'a result of fsck')
  } finally {
    await lane.close()
  }
}

function oneAfterTheOther<T>(work: () => Promise<T>): () => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return () => {
    const result = last.then(work, work)
    last = result.catch(() => undefined)
    return result
  }
}
