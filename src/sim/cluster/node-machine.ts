import type { Database } from 'better-sqlite3'
import { BlockIndex } from '../../chunkserver/blocks/block-index.ts'
import { BlockStore } from '../../chunkserver/blocks/block-store.ts'
import { IndexEngine } from '../../chunkserver/blocks/index-engine.ts'
import {
  type IndexOps,
  type IndexReply,
  type IndexRequest,
  place,
} from '../../chunkserver/blocks/index-protocol.ts'
import {
  blocksFolder,
  folderCount,
  folderName,
  pathOf,
  proofPathOf,
  temporaryFolder,
} from '../../chunkserver/blocks/layout.ts'
import { logFolder } from '../../chunkserver/log/log-files.ts'
import { ChunkserverNode } from '../../chunkserver/chunkserver-node.ts'
import { assert, must } from '../../core/assert.ts'
import { FsError, messageOf, UsageError } from '../../core/errors.ts'
import type { BlockId } from '../../core/ids.ts'
import { MiB, second } from '../../core/units.ts'
import type { HostEnv, WallClock } from '../world/host.ts'
import type { Prng } from '../world/prng.ts'
import { SimDatabase } from '../world/sim-database.ts'
import { type DiskImage, DiskPlatter, SimDisk } from '../world/sim-disk.ts'
import { SimLane } from '../world/sim-lane.ts'
import type { World } from '../world/world.ts'
import { masterAddress } from './master-machine.ts'
import type { PlantedBugs } from './options.ts'
import { plantedDigests, plantInDisk, plantInStore } from './plant-in-node.ts'

interface Running {
  readonly env: HostEnv
  readonly db: Database
  readonly writer: SimLane<IndexRequest, IndexReply>
  readonly store: Promise<BlockStore>
}

/** A chunkserver's machine: its disk and its index survive it. */
export class NodeMachine {
  readonly name: string
  readonly disk: DiskPlatter
  readonly #world: World
  readonly #prng: Prng
  readonly #bugs: PlantedBugs
  readonly #database = new SimDatabase()
  /** What its clock is ahead by. */
  readonly wall: WallClock
  #running: Running | undefined
  #lost = false
  #gone = false
  /** An older state of its disk. */
  #image: { readonly disk: DiskImage; readonly database: Buffer } | undefined
  /** Asked after each commit of the index, before anybody hears of it: whether the machine loses power there. */
  crashesNow: () => boolean = () => false
  /** Told of each block that is deleted here. */
  onRemoved: ((id: BlockId, generation: bigint) => void) | undefined

  constructor(world: World, name: string, capacityBytes: number, bugs: PlantedBugs) {
    this.name = name
    this.#bugs = bugs
    this.#world = world
    this.#prng = world.fork()
    this.disk = new DiskPlatter(world.fork(), capacityBytes)
    plantInDisk(bugs, this.disk, this.#database, world.aside(name))
    this.wall = { aheadNs: BigInt(Math.round(this.#prng.between(-60e9, 60e9))) }
  }

  get up(): boolean {
    return this.#running !== undefined
  }

  /** Its disk was lost once: it is another node since. */
  get lost(): boolean {
    return this.#lost
  }

  /** It never comes back. */
  get gone(): boolean {
    return this.#gone
  }

  /** Undefined while it is down. */
  get env(): HostEnv | undefined {
    return this.#running?.env
  }

  start(): void {
    assert(!this.#gone, 'who is gone does not start')
    const env = this.#world.start(this.name, this.wall)
    const isNew = this.#database.isNew
    // Whoever starts it again has seen to its disk.
    this.disk.failing = 0
    this.disk.readOnly = false
    const db = this.#database.open()
    if (isNew) {
      db.pragma('page_size = 8192')
      db.pragma('auto_vacuum = INCREMENTAL')
    }
    const lane = (most: number, writes: boolean) => {
      const engine = new IndexEngine(() => db, plantedDigests(this.#bugs, this.#world.checksums))
      return new SimLane<IndexRequest, IndexReply>(
        env,
        () => this.#delay(most),
        batch => {
          const refusal = writes && batch.some(({ op }) => op !== 'open') ? this.disk.refusal : undefined
          if (refusal !== undefined) return batch.map(({ op }) => refused(op, refusal))
          const replies = engine.apply(batch)
          this.#database.committed()
          this.#noteRemovals(batch, replies)
          if (writes && env.alive && this.crashesNow()) this.crash(false, true)
          return replies
        },
        batch => `index ${batch[0]?.op ?? 'nothing'}`,
      )
    }
    const writer = lane(4, true)
    const index = new BlockIndex(writer, lane(0.3, false))
    const store = this.#open(env, index)
    this.#running = { env, db, writer, store }
    this.#world.background(this.#run(env, store).catch((error: unknown) => this.#ended(env, error)))
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

  /** Its disk is lost with all that is on it, in the middle of what it does. With `forGood` the machine is, too. */
  loseDisk(silently: boolean, forGood: boolean): void {
    this.crash(silently, true)
    this.disk.wipe()
    this.#database.wipe()
    this.#image = undefined
    this.#lost = true
    this.#gone = forGood
  }

  /** Its machine is down: keeps a copy of its disk, or puts the one that was kept in place. True if it did that. */
  keepOrPutBack(): boolean {
    const image = this.#image
    this.#image = undefined
    if (image === undefined) {
      const database = this.#database.image()
      if (database !== undefined) this.#image = { disk: this.disk.image(), database }
      return false
    }
    this.disk.putBack(image.disk)
    this.#database.putBack(image.database)
    return true
  }

  /** A bit of a block flips, in a file or a row; tells which. */
  rot(): string | undefined {
    const db = this.#running?.db
    const prng = this.disk.prng
    const rows =
      db?.open === true
        ? db.prepare<[], { key: number; data: Buffer }>('SELECT key, data FROM block WHERE place = 0').all()
        : []
    if (rows.length === 0 || prng.chance(0.5)) return this.disk.rot(blocksFolder)
    const { key, data } = prng.pick(rows)
    const at = prng.below(data.length)
    data[at] = must(data[at], 'byte') ^ (1 << prng.below(8))
    db?.prepare('UPDATE block SET data = ? WHERE key = ?').run(data, key)
    return `row ${key}`
  }

  /** What is on its disk and of no use to anybody; undefined when there is nothing. */
  async leftovers(): Promise<string | undefined> {
    if (this.#running === undefined) return 'is down'
    const { db } = this.#running
    const { identity, unproven } = await this.#running.store
    const temporary = this.disk
      .names(temporaryFolder)
      .filter(name => `${temporaryFolder}/${name}` !== proofPathOf(identity.incarnation))
    if (temporary.length > 0) return `has temporary files: ${temporary.join(', ')}`
    const count = (sql: string) => Number(db.prepare(sql).pluck().get())
    for (const table of ['change', 'unlinked']) {
      const rows = count(`SELECT count(*) FROM ${table}`)
      if (rows > 0) return `has ${rows} rows of ${table}`
    }
    let files = 0
    for (let number = 0; number < folderCount; number++)
      files += this.disk.names(`${blocksFolder}/${folderName(number)}`).length
    const rows = count(`SELECT count(*) FROM block WHERE place = ${place.file}`)
    // Those that rotted before they had a row are kept.
    return files === rows + unproven.size ? undefined : `has ${files} files of blocks for ${rows} rows`
  }

  get address(): string {
    return `${this.name}:9001`
  }

  /** Names of what it keeps of the master's log. */
  logFiles(): string[] {
    return this.disk.hasFolder(logFolder) ? this.disk.names(logFolder) : []
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
    const options = { env, disk, index, checksums, reserveBytes: 1 * MiB, sharedAs: this.name }
    const store = await BlockStore.open(options).catch((error: unknown) => {
      // As a daemon does it: the process ends with a reason.
      throw error instanceof FsError ? new UsageError(error.message, { cause: error }) : error
    })
    return plantInStore(this.#bugs, store, ms => env.delay(ms))
  }

  #noteRemovals(batch: readonly IndexRequest[], replies: readonly IndexReply[]): void {
    for (const [at, request] of batch.entries()) {
      const reply = replies[at]
      if (request.op !== 'remove' || reply?.ok !== true) continue
      if ((reply.out as IndexOps['remove']['out']).removed)
        this.onRemoved?.(request.in.id, request.in.generation)
    }
  }

  /** Its process ended with a reason that a person would read: whoever looks after it starts it again. */
  #ended(env: HostEnv, error: unknown): void {
    if (!(error instanceof UsageError) || this.#running?.env !== env) throw error
    env.log.warn('ended', { error: messageOf(error) })
    this.crash(false, false)
    this.#world.timeline.after(1 * second, () => {
      if (!this.up && !this.#gone) this.start()
    })
  }

  async #run(env: HostEnv, opening: Promise<BlockStore>): Promise<void> {
    const store = await opening
    const network = this.#world.network.of(env)
    const node = new ChunkserverNode(env, network, store, this.#world.checksums, {
      masterAddress,
      zone: '',
      host: this.name,
      program: 'sim',
      scrubBytesPerSecond: this.#bugs.idleScrubber === true ? 0 : MiB,
    })
    const listener = await network.listen(this.address, serving => node.register(serving))
    await node.run(listener.address, new AbortController().signal)
  }

  #delay(most: number): number {
    const usual = this.#prng.between(most / 20, most)
    return this.#prng.chance(0.01) ? usual * 60 : usual
  }
}

const refused = (op: string, { errno: number, message }: FsError): IndexReply => ({
  ok: false,
  is: 'failure',
  errno: number,
  message: `block index, ${op}: ${message}`,
})
