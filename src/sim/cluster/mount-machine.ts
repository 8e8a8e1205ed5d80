import { ClientDataPath } from '../../client/data-path.ts'
import { Files } from '../../client/files.ts'
import type { SessionKey } from '../../client/session/hello.ts'
import { Session } from '../../client/session/session.ts'
import { FsError } from '../../core/errors.ts'
import { second } from '../../core/units.ts'
import type { FileSystem } from '../../fuse/filesystem.ts'
import { MountedFileSystem, type Processes } from '../../mount/mounted-file-system.ts'
import { FileIo } from '../kernel/file-io.ts'
import { Kernel } from '../kernel/kernel.ts'
import { KernelNotifier } from '../kernel/kernel-notifier.ts'
import { Names } from '../kernel/names.ts'
import type { HostEnv, WallClock } from '../world/host.ts'
import type { Prng } from '../world/prng.ts'
import { SimLocalFiles } from '../world/sim-local-files.ts'
import type { World } from '../world/world.ts'
import { type MasterMachine, masterAddress } from './master-machine.ts'
import type { NodeMachine } from './node-machine.ts'
import { type PlantedBugs, simDataPath } from './options.ts'
import { plantFalseReceipts } from './plant-in-master.ts'
import { plantedReader } from './plant-in-node.ts'
import { plantInData, plantInFileSystem, plantInNotifier, plantInSession } from './plant.ts'

/** Nobody is killed while it waits, and nobody is in more groups than one. */
const noProcesses: Processes = { groupsOf: () => [], isKilled: () => false }

/** A mount that works: what programs call. */
export interface Mounted {
  readonly env: HostEnv
  readonly kernel: Kernel
  readonly names: Names
  readonly io: FileIo
  readonly fs: FileSystem
  readonly session: Session
  readonly files: Files
}

/** A machine with a mount. Nothing of it survives. */
export class MountMachine {
  readonly name: string
  readonly #world: World
  readonly #prng: Prng
  readonly #bugs: PlantedBugs
  /** On the same machine, if there is one: its files can be read from here. */
  readonly #node: NodeMachine | undefined
  readonly #master: MasterMachine | undefined
  /** What its clock is ahead by. */
  readonly wall: WallClock
  readonly #knowsEpochs: boolean
  #env: HostEnv | undefined
  /** Of its last process: what a real one finds on its disk (see SessionRecords). */
  #last: SessionKey | undefined
  #mounted: Mounted | undefined

  constructor(world: World, name: string, bugs: PlantedBugs, node?: NodeMachine, master?: MasterMachine) {
    this.name = name
    this.#world = world
    this.#prng = world.fork()
    this.#bugs = bugs
    this.#master = master
    this.wall = { aheadNs: BigInt(Math.round(this.#prng.between(-3600e9, 3600e9))) }
    this.#knowsEpochs = this.#prng.chance(0.7)
    this.#node = this.#prng.chance(0.7) ? node : undefined
  }

  get up(): boolean {
    return this.#env !== undefined
  }

  /** Undefined while it is down. */
  get env(): HostEnv | undefined {
    return this.#env
  }

  /** Undefined while it is down or not mounted yet. */
  get mounted(): Mounted | undefined {
    return this.#mounted
  }

  /** `onMounted` is called once the mount works. */
  start(onMounted: (mounted: Mounted) => void): void {
    const env = this.#world.start(this.name, this.wall)
    this.#env = env
    this.#world.background(this.#mount(env, onMounted))
  }

  crash(silently: boolean): void {
    const env = this.#env
    if (env === undefined) return
    this.#env = undefined
    this.#mounted = undefined
    env.crash()
    this.#world.network.crash(env, silently)
  }

  /** Unmounts in order. */
  async stop(): Promise<void> {
    await this.#mounted?.fs.destroy()
    this.crash(false)
  }

  async #mount(env: HostEnv, onMounted: (mounted: Mounted) => void): Promise<void> {
    for (;;) {
      try {
        const mounted = await this.#attempt(env)
        this.#mounted = mounted
        onMounted(mounted)
        return
      } catch (error) {
        if (!(error instanceof FsError)) throw error
        env.log.info('not mounted', { error })
        await env.delay(1 * second)
      }
    }
  }

  async #attempt(env: HostEnv): Promise<Mounted> {
    const world = this.#world
    const network = world.network.of(env)
    const host = this.#node?.name ?? this.name
    const place = { host, zone: '' }
    const local = this.#node && new SimLocalFiles(env, this.#node.name, this.#node.disk)
    const dead = this.#prng.chance(0.5) ? this.#last : undefined
    const session = new Session(env, network, {
      address: masterAddress,
      host,
      mountpoint: '/mnt',
      pid: 1,
      program: 'sim',
      zone: '',
      readOnly: false,
      waitMs: 60 * second,
      startWaitMs: 10 * second,
      began: key => {
        this.#last = key
      },
    })
    plantInSession(this.#bugs, session, ms => env.delay(ms))
    const master = this.#master
    if (this.#bugs.uncheckedReceipts === true)
      plantFalseReceipts(session, at => (master?.up === true ? master.inspect(at) : undefined))
    const checksums = plantedReader(this.#bugs, world.checksums)
    const files = await Files.open(
      env,
      session,
      (port, attrs) =>
        plantInData(
          this.#bugs,
          new ClientDataPath(env, network, port, attrs, checksums, { ...simDataPath, place, local }),
        ),
      { readOnly: false, atime: 'relatime', atimeDelayMs: 5 * second, cache: { inodes: 12, names: 80 } },
    )
    if (dead !== undefined) {
      const { session: id, epoch, secret } = dead
      await session.call({ $case: 'endSession', value: { session: id, epoch, secret } }, 'done')
    }
    const kernel = new Kernel(env, world.fork(), error => world.bug(error))
    const names = new Names(kernel)
    const io = new FileIo(kernel, names)
    const notifier = plantInNotifier(this.#bugs, new KernelNotifier(kernel, io, this.#knowsEpochs), kernel)
    const fs = plantInFileSystem(
      this.#bugs,
      new MountedFileSystem(env, files, notifier, this.#knowsEpochs, noProcesses),
    )
    await kernel.attach(fs)
    return { env, kernel, names, io, fs, session, files }
  }
}
