import { BlockIndex } from '../../chunkserver/blocks/block-index.ts'
import { BlockStore } from '../../chunkserver/blocks/block-store.ts'
import { IndexEngine } from '../../chunkserver/blocks/index-engine.ts'
import type { IndexReply, IndexRequest } from '../../chunkserver/blocks/index-protocol.ts'
import { pathOf } from '../../chunkserver/blocks/layout.ts'
import { ChunkserverNode } from '../../chunkserver/chunkserver-node.ts'
import type { BlockId } from '../../core/ids.ts'
import { MiB } from '../../core/units.ts'
import type { HostEnv } from '../world/host.ts'
import type { Prng } from '../world/prng.ts'
import { SimDatabase } from '../world/sim-database.ts'
import { DiskPlatter, SimDisk } from '../world/sim-disk.ts'
import { SimLane } from '../world/sim-lane.ts'
import type { World } from '../world/world.ts'
import { masterAddress } from './master-machine.ts'

interface Running {
  readonly env: HostEnv
  readonly writer: SimLane<IndexRequest, IndexReply>
  readonly store: Promise<BlockStore>
}

/** A chunkserver's machine: its disk and its index survive it. */
export class NodeMachine {
  readonly name: string
  readonly disk: DiskPlatter
  readonly #world: World
  readonly #prng: Prng
  readonly #database = new SimDatabase()
  readonly #skewNs: bigint
  #running: Running | undefined
  /** Asked after each commit of the index, before anybody hears of it: whether the machine loses power there. */
  crashesNow: () => boolean = () => false

  constructor(world: World, name: string, capacityBytes: number) {
    this.name = name
    this.#world = world
    this.#prng = world.fork()
    this.disk = new DiskPlatter(world.fork(), capacityBytes)
    this.#skewNs = BigInt(Math.round(this.#prng.between(-60e9, 60e9)))
  }

  get up(): boolean {
    return this.#running !== undefined
  }

  /** Undefined while it is down. */
  get env(): HostEnv | undefined {
    return this.#running?.env
  }

  start(): void {
    const env = this.#world.start(this.name, this.#skewNs)
    const isNew = this.#database.isNew
    const db = this.#database.open()
    if (isNew) {
      db.pragma('page_size = 8192')
      db.pragma('auto_vacuum = INCREMENTAL')
    }
    const lane = (most: number, writes: boolean) => {
      const engine = new IndexEngine(() => db, this.#world.checksums)
      return new SimLane<IndexRequest, IndexReply>(
        env,
        () => this.#delay(most),
        batch => {
          const replies = engine.apply(batch)
          if (writes && env.alive && this.crashesNow()) this.crash(false, true)
          return replies
        },
      )
    }
    const writer = lane(4, true)
    const index = new BlockIndex(writer, lane(0.3, false))
    const store = this.#open(env, index)
    this.#running = { env, writer, store }
    this.#world.background(this.#run(env, store))
  }

  /** Its process dies; with `power` what was not synced may be lost, too. */
  crash(silently: boolean, power: boolean): void {
    const running = this.#running
    if (running === undefined) return
    this.#running = undefined
    running.env.crash()
    this.#world.network.crash(running.env, silently)
    running.writer.stop(this.#prng.chance(0.5))
    this.#database.crash()
    if (power) this.disk.cutPower()
  }

  /** Whether this node has the block, whole and right. */
  async holds(id: BlockId): Promise<string | undefined> {
    if (this.#running === undefined) return 'is down'
    const store = await this.#running.store
    const row = await store.index.ask('lookup', { id })
    if (row === undefined) return `has no row of ${id} (${pathOf(id)})`
    const reader = await store.read(id)
    try {
      return (await store.verify(reader)) ? undefined : `has wrong bytes of ${id}`
    } finally {
      await reader.close()
    }
  }

  async #open(env: HostEnv, index: BlockIndex): Promise<BlockStore> {
    const { checksums } = this.#world
    const disk = new SimDisk(env, this.disk)
    return BlockStore.open({ env, disk, index, checksums, reserveBytes: 1 * MiB, sharedAs: this.name })
  }

  async #run(env: HostEnv, opening: Promise<BlockStore>): Promise<void> {
    const store = await opening
    const network = this.#world.network.of(env)
    const node = new ChunkserverNode(env, network, store, this.#world.checksums, {
      masterAddress,
      zone: '',
      host: this.name,
      program: 'sim',
      scrubBytesPerSecond: MiB,
    })
    const listener = await network.listen(`${this.name}:9001`, serving => node.register(serving))
    await node.run(listener.address, new AbortController().signal)
  }

  #delay(most: number): number {
    const usual = this.#prng.between(most / 20, most)
    return this.#prng.chance(0.01) ? usual * 60 : usual
  }
}
