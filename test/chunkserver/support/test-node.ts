import type { Database } from 'better-sqlite3'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BlockIndex, type IndexLane } from '#src/chunkserver/blocks/block-index.ts'
import { BlockStore } from '#src/chunkserver/blocks/block-store.ts'
import { IndexEngine } from '#src/chunkserver/blocks/index-engine.ts'
import { openIndexWriter } from '#src/chunkserver/blocks/open-index.ts'
import type { SpaceOptions } from '#src/chunkserver/blocks/space.ts'
import type { Disk } from '#src/chunkserver/disk/disk.ts'
import { RealDisk } from '#src/chunkserver/disk/real-disk.ts'
import { Authority } from '#src/chunkserver/rpc/authority.ts'
import { BlocksService } from '#src/chunkserver/rpc/blocks-service.ts'
import { ReadRates } from '#src/chunkserver/rpc/read-rates.ts'
import type { Traffic } from '#src/chunkserver/rpc/traffic.ts'
import { Peers } from '#src/chunkserver/rpc/peers.ts'
import { UserActivity } from '#src/chunkserver/rpc/user-activity.ts'
import { createChecksums } from '#src/core/checksum.ts'
import type { Env, Log } from '#src/core/env.ts'
import { MiB } from '#src/core/units.ts'
import { realEnv } from '#src/env/real-env.ts'
import { GrpcNetwork } from '#src/wire/grpc/grpc-network.ts'
import type { Tls } from '#src/wire/tls/tls.ts'

/** What goes wrong in these tests is meant to. */
export const quietLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: (message, fields) => process.stderr.write(`error ${message} ${String(fields?.['error'])}\n`),
  child: () => quietLog,
}

export const checksums = await createChecksums()
export const cluster = Buffer.alloc(16, 7)
export const key = Buffer.alloc(32, 9)
export const now = 1_800_000_000_000_000_000n
/** Of tokens to read blocks: it was in use for an hour, and will be for another. */
export const wireReadKey = {
  id: 77n,
  key: Buffer.alloc(32, 11),
  from: now - 3_600_000_000_000n,
  until: now + 3_600_000_000_000n,
}

/** A lane without a thread. */
export function directLane(open: () => Database): IndexLane & { readonly engine: IndexEngine } {
  const engine = new IndexEngine(open, checksums)
  return { engine, run: async batch => engine.apply(batch), close: async () => engine.abandon() }
}

export interface OpenStoreOptions extends SpaceOptions {
  readonly env?: Env
  readonly disk?: Disk
  /** Of a node, whose folder is made for it. */
  readonly diskOf?: (folder: string) => Disk
  /** Whether the node believes that a master accepted it; default true. */
  readonly accepted?: boolean
  readonly tls?: Tls
  readonly putSilentMs?: number
  readonly log?: Log
}

export async function openStore(folder: string, options: OpenStoreOptions = {}): Promise<BlockStore> {
  const {
    env = realEnv(quietLog),
    diskOf = (at: string) => new RealDisk(at),
    disk = diskOf(folder),
    accepted: _,
    tls: __,
    putSilentMs: ____,
    log: ___,
    ...space
  } = options
  const index = new BlockIndex(directLane(() => openIndexWriter(folder)))
  return BlockStore.open({ env, disk, index, checksums, ...space })
}

export async function temporaryFolder(t: { teardown(fn: () => Promise<void>): void }): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'cairn-chunkserver-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

export interface TestNode {
  readonly traffic: Traffic
  readonly node: bigint
  readonly address: string
  readonly folder: string
  readonly store: BlockStore
  readonly authority: Authority
  readonly network: GrpcNetwork
}

/** A node over the real network and disk that believes to be accepted by a master. */
export async function startNode(
  t: { teardown(fn: () => Promise<void>): void },
  node: bigint,
  options: OpenStoreOptions = {},
): Promise<TestNode> {
  const folder = await temporaryFolder(t)
  const env = realEnv(options.log ?? quietLog)
  const store = await openStore(folder, { ...options, env })
  const network = new GrpcNetwork({ log: quietLog, tls: options.tls })
  const authority = new Authority(env.clock)
  authority.noteTime(now)
  await store.join(cluster, node)
  const { incarnation } = store.identity
  if (options.accepted !== false) {
    authority.accept({ cluster, node, incarnation, key, blockBytes: 4 * MiB })
    authority.noteReadKeys([wireReadKey])
  }
  const peers = new Peers(env, network)
  const service = new BlocksService({
    env,
    store,
    authority,
    peers,
    checksums,
    users: new UserActivity(env.clock),
    readRates: new ReadRates(env),
    host: 'test-host',
    putSilentMs: options.putSilentMs,
  })
  const listener = await network.listen('127.0.0.1:0', serving => service.register(serving))
  t.teardown(async () => {
    peers.close()
    await network.close()
    await store.close()
  })
  return { node, address: listener.address, folder, store, authority, network, traffic: service.traffic }
}
