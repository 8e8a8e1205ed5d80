/**
 * The streams of blocks to all chunkservers: opened when first needed, one for puts and one for gets
 * so that a small read does not wait behind megabytes of a put, closed when idle. Also remembers, for a
 * while, which nodes just failed; that is a hint, never a verdict.
 */
import type { Env, Timer } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import type { BlockId } from '../../core/ids.ts'
import type { Network } from '../../core/network.ts'
import type { RequestLog } from '../../core/request-log.ts'
import { second } from '../../core/units.ts'
import { blocksOpen } from '../../wire/services.ts'
import type { MasterPort } from '../ports.ts'
import { BlockLink, countUp, type LinkRequests, type LocalAccess } from './block-link.ts'
import { type LocalBlock, LocalBlocks } from './local-blocks.ts'
import type { LocalFiles, LocalOffer } from './local-files.ts'

export type Purpose = 'put' | 'get'

const idleMs = 60 * second
/** A node that did not answer is avoided this long: by then the master knows, too. */
const silentPenaltyMs = 20 * second
/** One that refused the connection, or is quiet, may be back sooner; the second time in a row later, and so on. */
const brokenPenaltyMs = 1 * second
const brokenPenaltyMaxMs = 30 * second

interface Penalty {
  /** Until then, on the clock, others are preferred. */
  readonly until: number
  readonly silent: boolean
  /** In a row. */
  readonly failures: number
}

const brokenCodes: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE'])

export class BlockStreams {
  readonly #env: Env
  readonly #network: Network
  readonly #master: MasterPort
  readonly #access: LocalAccess | undefined
  readonly #requests: LinkRequests
  readonly #links = new Map<string, BlockLink>()
  /** Of an earlier session, with calls under way. */
  readonly #retired = new Set<BlockLink>()
  /** By node; they stay until it answers, for what they count. */
  readonly #penalties = new Map<bigint, Penalty>()
  #sweeper: Timer | undefined
  #closed = false

  /** With `local`, the files of nodes on `host`, this machine, are read past them. */
  constructor(
    env: Env,
    network: Network,
    master: MasterPort,
    host = '',
    local?: LocalFiles,
    requests?: RequestLog,
  ) {
    this.#requests = { nextCall: countUp(), log: requests }
    this.#env = env
    this.#network = network
    this.#master = master
    if (local !== undefined && host !== '')
      this.#access = { host, open: offer => openLocal(env, local, offer) }
  }

  /** The stream to an address. A node that is away shows as the failure of the calls. */
  to(address: string, purpose: Purpose): BlockLink {
    if (this.#closed) throw new FsError('ECANCELED', 'The streams of blocks are closed')
    const key = `${purpose} ${address}`
    const { session, epoch } = this.#master.identity
    const known = this.#links.get(key)
    const access = purpose === 'get' && !this.#master.rules.noShortCircuit ? this.#access : undefined
    const suits = known?.readsFiles !== true || access !== undefined
    if (known?.identity.session === session && known.identity.epoch === epoch && suits) return known
    const identity = { cluster: this.#master.facts.cluster, session, epoch }
    const link: BlockLink = new BlockLink(
      this.#env,
      this.#network.dial(address, blocksOpen),
      identity,
      () => {
        if (this.#links.get(key) === link) this.#links.delete(key)
        this.#retired.delete(link)
      },
      access,
      this.#requests,
    )
    this.#links.set(key, link)
    if (known?.busy === 0) known.close()
    else if (known !== undefined) this.#retired.add(known)
    this.#sweeper ??= this.#env.timers.after(idleMs, () => this.#sweep())
    return link
  }

  /** Calls under way to an address: how loaded we have made it. What is read from its files does not load it. */
  load(address: string): number {
    return this.readsFiles(address) ? 0 : (this.#links.get(`get ${address}`)?.busy ?? 0)
  }

  /** A block whose file on this machine is open already. */
  openedFile(address: string, id: BlockId): LocalBlock | undefined {
    if (this.#master.rules.noShortCircuit) return undefined
    return this.#links.get(`get ${address}`)?.local?.opened(id)
  }

  readsFiles(address: string): boolean {
    return this.#links.get(`get ${address}`)?.readsFiles === true
  }

  /** A call to the node failed in a way that says something about the node. */
  noteFailure(node: bigint, error: FsError): void {
    const silent = error.code === 'ETIMEDOUT'
    const broken = brokenCodes.has(error.code)
    if (!silent && !broken) return
    this.#punish(node, silent)
  }

  /** It says nothing for a moment, and perhaps only because its disk is busy. */
  noteQuiet(node: bigint): void {
    if (!this.isSuspect(node)) this.#punish(node, false)
  }

  noteSuccess(node: bigint): void {
    this.#penalties.delete(node)
  }

  /** Whether the node failed lately. */
  isSuspect(node: bigint): boolean {
    return (this.#penalties.get(node)?.until ?? 0) > this.#env.clock.now()
  }

  /** Nodes that lately cost a time-out: a put to them would wait as long again. */
  silentNodes(): bigint[] {
    const silent = [...this.#penalties].filter(([, penalty]) => penalty.silent).map(([node]) => node)
    return silent.filter(node => this.isSuspect(node))
  }

  #punish(node: bigint, silent: boolean): void {
    const before = this.#penalties.get(node)
    const now = this.#env.clock.now()
    // Calls that were under way together fail together: that is once.
    const failures = before === undefined ? 1 : before.until > now ? before.failures : before.failures + 1
    const forMs = silent
      ? silentPenaltyMs
      : Math.min(brokenPenaltyMaxMs, brokenPenaltyMs * 2 ** (failures - 1))
    const until = Math.max(now + forMs, before?.until ?? 0)
    this.#penalties.set(node, {
      until,
      failures,
      silent: silent || (before?.silent === true && before.until > now),
    })
  }

  close(): void {
    this.#closed = true
    this.#sweeper?.cancel()
    for (const link of this.#all()) link.close()
  }

  #all(): BlockLink[] {
    return [...this.#links.values(), ...this.#retired]
  }

  #sweep(): void {
    this.#sweeper = undefined
    const now = this.#env.clock.now()
    for (const link of this.#all()) if (link.busy === 0 && now - link.usedAt >= idleMs) link.close()
    if (this.#all().length > 0) this.#sweeper = this.#env.timers.after(idleMs, () => this.#sweep())
  }
}

async function openLocal(env: Env, files: LocalFiles, offer: LocalOffer): Promise<LocalBlocks | undefined> {
  const folder = await files.open(offer)
  env.log.debug('a node on this machine told where its files are', {
    folder: offer.folder,
    readable: folder !== undefined,
  })
  return folder === undefined ? undefined : new LocalBlocks(env, folder)
}
