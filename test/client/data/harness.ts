import { ClientDataPath, dataPathDefaults, type DataPathOptions } from '#src/client/data-path.ts'
import { createChecksums } from '#src/core/checksum.ts'
import { KiB } from '#src/core/units.ts'
import { FakeMaster } from './fake-master.ts'
import { FakeFiles, FakeNodes, noFaults } from './fake-nodes.ts'
import { seeded, VirtualEnv } from './virtual-env.ts'

export interface HarnessOptions extends Partial<DataPathOptions> {
  readonly seed?: number
  readonly blockBytes?: number
  readonly nodes?: number
  /** Of the node on this machine, whose files can be read. */
  readonly localNode?: number
}

/** A data path on virtual time, over a master and chunkservers in memory. */
export async function harness(options: HarnessOptions = {}) {
  const { seed = 1, blockBytes = 256 * KiB, nodes: count = 4, localNode, ...rest } = options
  const env = new VirtualEnv()
  const random = seeded(seed)
  const checksums = await createChecksums()
  const nodes = new FakeNodes(env, random, checksums, count, noFaults())
  const faults = { planFails: 0, commitFails: 0, again: 0, maxDelayMs: 3 }
  const master = new FakeMaster(env, random, nodes, blockBytes, faults)
  const data = new ClientDataPath(env, nodes, master, master, checksums, {
    ...dataPathDefaults,
    // What was written is read from nodes, unless a test says otherwise.
    writtenBytes: 0,
    place: { host: localNode === undefined ? '' : `host${localNode}`, zone: '' },
    local: localNode === undefined ? undefined : new FakeFiles(env, nodes),
    ...rest,
  })
  return { env, random, nodes, master, data }
}

export type Harness = Awaited<ReturnType<typeof harness>>

/** Bytes that differ from place to place and seed to seed. */
export function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  let state = Math.imul(seed + 1, 0x9e3779b1)
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    bytes[i] = state >>> 24
  }
  return bytes
}
