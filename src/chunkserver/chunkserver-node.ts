import type { Checksums } from '../core/checksum.ts'
import type { Env, Log, Timer } from '../core/env.ts'
import { FsError, messageOf } from '../core/errors.ts'
import type { Network, Serving } from '../core/network.ts'
import { MiB, second } from '../core/units.ts'
import { nodesAttach } from '../wire/services.ts'
import type { BlockStore } from './blocks/block-store.ts'
import { MasterLog } from './log/master-log.ts'
import { Copier } from './copy/copier.ts'
import { Attachment, type AttachmentParts, type NodeDescription } from './rpc/attachment.ts'
import { Authority } from './rpc/authority.ts'
import { BlocksService } from './rpc/blocks-service.ts'
import { LogService } from './rpc/log-service.ts'
import { Peers } from './rpc/peers.ts'
import { UserActivity } from './rpc/user-activity.ts'
import { ReadRates } from './rpc/read-rates.ts'
import type { Traffic } from './rpc/traffic.ts'
import { Scrubber } from './scrub/scrubber.ts'

export interface ChunkserverConfig {
  readonly masterAddress: string
  readonly zone: string
  /** Identity of the machine, the same for all its nodes and mounts. */
  readonly host: string
  /** Name and version, for people. */
  readonly program: string
  readonly scrubBytesPerSecond?: number
  /** What takes a program longer is slow. */
  readonly slowMs?: number
  /** Hears of the data that passes, in bytes. */
  readonly onMoved?: (bytes: number) => void
}

const scrubBytesDefault = 8 * MiB
const maintainMs = 2 * second
/** A disk that leaves its store's housekeeping waiting for so long takes no writes as far as anybody can tell. */
const hungMs = 30 * second
const retryMinMs = 100
const retryMaxMs = 5 * second

/**
 * A storage node: serves blocks, and keeps itself attached to the master. Serves reads also while the
 * master is away; puts once it was accepted for the first time.
 */
export class ChunkserverNode {
  readonly #env: Env
  readonly #network: Network
  readonly #store: BlockStore
  readonly #config: ChunkserverConfig
  readonly #log: Log
  readonly #authority: Authority
  readonly #readRates: ReadRates
  readonly #peers: Peers
  readonly #service: BlocksService
  readonly #logService: LogService
  readonly #copier: Copier
  readonly #scrubber: Scrubber
  #attachment: Attachment | undefined

  /** The store stays the caller's, to be closed after `run`. */
  constructor(
    env: Env,
    network: Network,
    store: BlockStore,
    checksums: Checksums,
    config: ChunkserverConfig,
  ) {
    this.#env = env
    this.#network = network
    this.#store = store
    this.#config = config
    this.#log = env.log.child({ part: 'node' })
    this.#authority = new Authority(env.clock)
    this.#peers = new Peers(env, network)
    const users = new UserActivity(env.clock)
    this.#readRates = new ReadRates(env)
    const shared = { env, store, authority: this.#authority, peers: this.#peers, checksums, users }
    const parts = { ...shared, host: config.host }
    this.#service = new BlocksService({
      ...parts,
      readRates: this.#readRates,
      onMoved: config.onMoved,
      slowMs: config.slowMs,
    })
    this.#logService = new LogService({
      onMoved: config.onMoved,
      open: () =>
        MasterLog.open({
          disk: store.disk,
          checksums,
          space: store.space,
          failed: error => store.noteFailure(error),
          log: env.log.child({ part: 'log' }),
        }),
      authority: this.#authority,
      identity: () => store.identity,
    })
    this.#copier = new Copier({ ...parts, log: env.log.child({ part: 'copy' }) })
    const bytesPerSecond = config.scrubBytesPerSecond ?? scrubBytesDefault
    this.#scrubber = new Scrubber(env, store, { bytesPerSecond })
  }

  /** The services of this node. */
  register(serving: Serving): void {
    this.#service.register(serving)
    this.#logService.register(serving)
  }

  /** What it did for others. */
  get traffic(): Traffic {
    return this.#service.traffic
  }

  /** Whether the master counts on this node now. */
  get isAttached(): boolean {
    return this.#attachment?.isAccepted === true
  }

  /** Peers and clients that are connected. */
  get streams(): number {
    return this.#service.streams
  }

  /** Whether the master has accepted this node since it started. */
  get accepted(): boolean {
    return this.#authority.membership !== undefined
  }

  /**
   * Attaches to the master as reachable at `address`, and works until `signal` aborts. Rejects with a
   * UsageError when the master refuses this node for good.
   */
  async run(address: string, signal: AbortSignal): Promise<void> {
    const stop = new AbortController()
    const onAbort = (): void => stop.abort()
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) stop.abort()
    try {
      const helpers = [this.#scrubber.run(stop.signal), this.#maintain(stop.signal)]
      await this.#attach(address, stop.signal).finally(onAbort)
      await Promise.all(helpers)
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#peers.close()
    }
  }

  async #attach(address: string, signal: AbortSignal): Promise<void> {
    const { masterAddress, zone, host, program } = this.#config
    const describe: NodeDescription = { address, zone, host, program }
    const parts: AttachmentParts = {
      env: this.#env,
      store: this.#store,
      authority: this.#authority,
      copier: this.#copier,
      readRates: this.#readRates,
      describe,
      load: () => this.#service.streams,
      scrub: bytesPerSecond => this.#scrub(bytesPerSecond),
      traffic: this.#service.traffic,
      scrubbing: () => this.#scrubber.state,
    }
    let failures = 0
    while (!signal.aborted) {
      const attachment = new Attachment(parts, this.#network.dial(masterAddress, nodesAttach))
      this.#attachment = attachment
      const leave = (): void => attachment.goodbye()
      signal.addEventListener('abort', leave, { once: true })
      const { error, fatal, accepted } = await attachment.ended
      this.#attachment = undefined
      signal.removeEventListener('abort', leave)
      if (fatal !== undefined) throw fatal
      failures = accepted ? 1 : failures + 1
      // Loud once, so that a master that is away does not fill the log.
      if (failures === 1 && !attachment.left)
        this.#log.warn('not attached to the master', { master: masterAddress, error: error.message })
      await this.#sleep(this.#backoff(failures), signal)
    }
  }

  #scrub(bytesPerSecond: bigint): void {
    this.#scrubber.start(Number(bytesPerSecond)).catch((error: unknown) => {
      this.#log.warn('scrubbing cannot begin', { error: messageOf(error) })
    })
  }

  /** Longer with each failure, and different for each node: they all lost the master at the same moment. */
  #backoff(failures: number): number {
    const ms = Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(failures, 10))
    return ms / 2 + this.#env.random.below(Math.ceil(ms / 2))
  }

  async #maintain(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      // Once it answers, the next round tries whether it takes writes again.
      const watch = (): Timer =>
        this.#env.timers.after(hungMs, () =>
          this.#store.noteFailure(new FsError('EIO', `the disk has not answered for ${hungMs / second} s`)),
        )
      let hung = watch()
      try {
        await this.#store.maintain(() => {
          hung.cancel()
          hung = watch()
        })
      } catch (error) {
        this.#log.warn('housekeeping failed', { error: messageOf(error) })
      } finally {
        hung.cancel()
      }
      await this.#sleep(maintainMs, signal)
    }
  }

  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    await this.#env.timers.sleep(ms, signal).catch((error: unknown) => {
      if (!signal.aborted) throw error
    })
  }
}
