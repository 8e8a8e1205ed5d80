import { must } from '../../core/assert.ts'
import { blockIdOf } from '../../core/checksum.ts'
import { KiB } from '../../core/units.ts'
import type { EngineInput, EngineOutput } from '../../master/engine/io.ts'
import type { EngineSettings } from '../../master/engine/settings.ts'
import { engineHandler } from '../../master/rpc/open-engine.ts'
import { restoreStore } from '../../master/backup/restore-database.ts'
import type { BaseFile } from '../../master/log/base.ts'
import { LogShipper } from '../../master/log/log-shipper.ts'
import type { LogState } from '../../master/log/log-state.ts'
import { rebuild, type Rebuilt } from '../../master/log/rebuild.ts'
import { type MasterRoom, MasterServer } from '../../master/rpc/server.ts'
import { Store } from '../../master/store/store.ts'
import type { HostEnv, WallClock } from '../world/host.ts'
import type { Prng } from '../world/prng.ts'
import { SimDatabase } from '../world/sim-database.ts'
import { SimLane } from '../world/sim-lane.ts'
import { SimPages } from '../world/sim-pages.ts'
import type { World } from '../world/world.ts'
import { type PlantedBugs, simBlockBytes, simRowsPerCommand } from './options.ts'
import { plantInMasterStore, plantInPages } from './plant-in-master.ts'
import { plantedDigests } from './plant-in-node.ts'

export const masterAddress = 'master:9000'

export interface MasterOptions {
  readonly copies: number
  readonly minCopies: number
  readonly bugs: PlantedBugs
  readonly settings: Partial<EngineSettings>
  /** It keeps its log on chunkservers. */
  readonly log: boolean
}

/** So little that bases are made again and again, and that a node which was away for long has missed something. */
const logBytes = { rotateBytes: 256 * KiB, queueBytes: 512 * KiB }

interface Running {
  readonly env: HostEnv
  readonly lane: SimLane<readonly EngineInput[], readonly EngineOutput[]>
  /** A new one after its disk was full. */
  readonly store: () => Store
  readonly log: LogShipper | undefined
}

/** The master's machine: its database survives it. */
export class MasterMachine {
  readonly name = 'master'
  readonly #world: World
  readonly #prng: Prng
  readonly #options: MasterOptions
  readonly #database = new SimDatabase()
  /** What its clock is ahead by. */
  readonly wall: WallClock
  #running: Running | undefined
  /** Asked after each commit, before anybody hears of it: whether the machine stops there. */
  crashesNow: () => boolean = () => false
  /** Told of each session that has ended, when nothing of it is executed any more. */
  onSessionEnded: ((session: bigint) => void) | undefined
  #sessions: readonly bigint[] = []
  /** Virtual milliseconds of work and sync of a batch. */
  slowness = 1
  /** Something else fills its disk to the last byte, again and again: this part of its commits finds no room. */
  crowded = 0
  /** Its disk is nearly full: what is left is kept in reserve. */
  full = false

  constructor(world: World, options: MasterOptions) {
    this.#world = world
    this.#prng = world.fork()
    this.#options = options
    if (options.bugs.lyingMaster === true) this.#database.lying = world.aside(this.name)
    this.wall = { aheadNs: BigInt(Math.round(this.#prng.between(-5e9, 5e9))) }
  }

  get up(): boolean {
    return this.#running !== undefined
  }

  start(): void {
    const world = this.#world
    const env = world.start(this.name, this.wall)
    const { bugs } = this.#options
    const open = (): Store => this.#withRoom(plantInMasterStore(bugs, this.#open()))
    let opened = open()
    // It is looked into also between a step that found no room and the next.
    const store = (): Store => {
      if (!opened.db.open) opened = open()
      return opened
    }
    const handler = engineHandler(opened, 'sim', plantedDigests(bugs, world.checksums), {
      settings: this.#options.settings,
      reopen: store,
      ...(this.#options.log
        ? { pages: ({ db }) => plantInPages(bugs, new SimPages(db), world.aside('pages')) }
        : {}),
    })
    const sessions = () =>
      store().db.prepare<[], bigint>('SELECT id FROM sessions').pluck().safeIntegers().all()
    const lane = new SimLane<readonly EngineInput[], readonly EngineOutput[]>(
      env,
      () => this.#delay(),
      batch => {
        const outputs = handler.run(batch)
        if (bugs.forgetfulMaster === true) store().db.exec('DELETE FROM replies')
        if (this.onSessionEnded !== undefined) this.#noteSessions(sessions())
        this.#database.committed()
        if (env.alive && this.crashesNow()) this.crash(false)
        return outputs
      },
      batch => `commit ${batch[0]?.[1]?.kind ?? 'nothing'}`,
    )
    const network = world.network.of(env)
    const log = this.#options.log
      ? new LogShipper(env, network, {
          copies: 2,
          takeBase: () => this.#takeBase(env, store),
          ...logBytes,
        })
      : undefined
    this.#running = { env, lane, store, log }
    const failed = (error: unknown): void => world.bug(error)
    world.background(
      MasterServer.start(env, network, lane, {
        listen: masterAddress,
        rssBytes: () => 0,
        room: this.#room,
        log,
        failed,
      }),
    )
  }

  get #room(): MasterRoom {
    const isFull = () => this.full
    const { stingyMaster } = this.#options.bugs
    return {
      get full() {
        return isFull()
      },
      get spent() {
        return stingyMaster === true && isFull()
      },
      exhausted: () => {
        this.full = true
      },
    }
  }

  /** What chunkservers have of its database. */
  get log(): LogState | undefined {
    return this.#running?.log?.state
  }

  /** Its disk is gone: what chunkservers have becomes its database. It is down before and after. */
  async restoreFrom(addresses: readonly string[]): Promise<Rebuilt> {
    const world = this.#world
    const env = world.start('operator', this.wall)
    let image = Buffer.alloc(0)
    const rebuilt = await rebuild(world.network.of(env), world.checksums, addresses, {
      begin: () => {
        image = Buffer.alloc(0)
      },
      write: (offset, data) => {
        const end = offset + data.length
        if (end > image.length) image = Buffer.concat([image, Buffer.alloc(end - image.length)])
        image.set(data, offset)
      },
      end: bytes => {
        image = Buffer.concat([image, Buffer.alloc(Math.max(0, bytes - image.length))]).subarray(0, bytes)
      },
    })
    this.#database.putBack(image)
    const store = Store.open(this.#database.open(), { rowsPerCommand: simRowsPerCommand })
    const { problems } = restoreStore(store, rebuilt.time, env.clock.wall())
    for (const problem of problems) world.fail('what is restored is right', problem)
    this.#database.crash()
    return rebuilt
  }

  async #takeBase(env: HostEnv, store: () => Store): Promise<BaseFile> {
    env.point('base of the log')
    await env.delay(this.#prng.between(1, 300))
    const image = store().db.serialize()
    return {
      bytes: image.length,
      sha256: Buffer.from(blockIdOf(image), 'hex'),
      read: async (offset, length) => {
        await env.delay(1)
        return image.subarray(offset, offset + length)
      },
      release: () => undefined,
    }
  }

  crash(silently: boolean): void {
    const running = this.#running
    if (running === undefined) return
    this.#running = undefined
    running.env.crash()
    this.#world.network.crash(running.env, silently)
    running.lane.stop(this.#prng.chance(0.5))
    this.#database.crash()
  }

  /** Whether it would execute what comes from the session. */
  sessionLives(session: bigint): boolean {
    const store = this.#running?.store()
    return store === undefined || store.sessions.find(session) !== undefined
  }

  /** How many nodes have registered. */
  get nodes(): number {
    return this.#running?.store().nodes.all().length ?? 0
  }

  /** Looks into the database of the running master: what was committed. Changes nothing. */
  inspect<T>(look: (store: Store) => T): T {
    return look(must(this.#running, 'running master').store())
  }

  #noteSessions(living: readonly bigint[]): void {
    for (const session of this.#sessions) if (!living.includes(session)) this.onSessionEnded?.(session)
    this.#sessions = living
  }

  get env(): HostEnv | undefined {
    return this.#running?.env
  }

  #open(): Store {
    const { copies, minCopies } = this.#options
    const options = { rowsPerCommand: simRowsPerCommand }
    if (!this.#database.isNew) return Store.open(this.#database.open(), options)
    const cluster = Buffer.from(blockIdOf(Buffer.from('cluster')), 'hex').subarray(0, 16)
    const created = 1_600_000_000_000_000_000n
    return Store.format(
      this.#database.open(),
      { cluster, blockBytes: simBlockBytes, copies, minCopies, created },
      options,
    )
  }

  /** SQLite's error, where a commit finds no room. */
  #withRoom(store: Store): Store {
    const commit = store.commit.bind(store)
    store.commit = () => {
      if (this.crowded > 0 && this.#prng.chance(this.crowded))
        throw Object.assign(new Error('database or disk is full'), { code: 'SQLITE_FULL' })
      commit()
    }
    store.close = () => this.#database.close()
    return store
  }

  #delay(): number {
    const usual = this.#prng.between(0.1, 3) * this.slowness
    return this.#prng.chance(0.01) ? usual * 60 : usual
  }
}
