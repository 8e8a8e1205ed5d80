/**
 * Keeps what the master commits on some chunkservers, too, so that the loss of its disk costs no more than the last
 * second: a base each, and all records since then. Nothing that is served waits for it: what a node is too slow for
 * waits in a bounded queue, where the lag shows, and when that is full the node gets a new base.
 *
 * Nothing here is authoritative: what a node has, it says itself. A start of the master begins with new bases, since
 * what its last start committed after its last word to the nodes is in no record.
 */
import type { Env, Timer } from '../../core/env.ts'
import { messageOf } from '../../core/errors.ts'
import type { Network } from '../../core/network.ts'
import { MiB, second } from '../../core/units.ts'
import { Base, type BaseFile } from './base.ts'
import { chooseFollowers } from './choose-followers.ts'
import { dropLog, type LogParts } from './drop-log.ts'
import { Follower } from './follower.ts'
import type { Logged, LogNode, LogState } from './log-state.ts'
import { RecordQueue } from './record-queue.ts'

export interface LogShipperOptions {
  /** So many chunkservers are to have it, if there are as many. */
  readonly copies: number
  /** Copies the database as of one moment; one at a time. */
  readonly takeBase: () => Promise<BaseFile>
  /** Bytes of records that wait. */
  readonly queueBytes?: number
  /** After so many bytes of records, or as many as the base has if that is more, a new base begins. */
  readonly rotateBytes?: number
}

/** A node that is away for so long, while there is another one, is not waited for. */
const failoverMs = 10 * second
const retryBaseMs = 5 * second
const queueBytesDefault = 16 * MiB
const rotateBytesDefault = 32 * MiB
/** So much is kept for nodes that come while a base is made or sent: they can have the same one. */
const lateBytes = 4 * MiB
/** At the end of the process what is under way is waited for. */
const closeMs = 2 * second

/** A look at what was committed: everything up to record `sequence`. */
interface Mark {
  readonly sequence: bigint
  /** When it came, by the clock that never goes back. */
  readonly atMs: number
  /** Cluster time up to which nothing else was committed. */
  time: bigint
}

export class LogShipper {
  readonly #env: Env
  readonly #network: Network
  readonly #options: LogShipperOptions
  readonly #queue: RecordQueue
  readonly #followers = new Map<bigint, Follower>()
  /** Which of them were chosen; others leave when these have everything. */
  #chosen: readonly bigint[] = []
  #nodes: readonly LogNode[] = []
  #cluster: Uint8Array = new Uint8Array(0)
  #incarnation = 0n
  #sequence = 0n
  #marks: Mark[] = []
  #covered = 0n
  #loggedBytes = 0
  #base: Base | undefined
  #making = false
  #baseRetryMs = Number.NEGATIVE_INFINITY
  #baseBytes = 0
  #failing = ''
  /** Nodes that were told to forget, in this incarnation. */
  readonly #told = new Set<bigint>()
  #closed = false
  #idle: (() => void) | undefined

  constructor(env: Env, network: Network, options: LogShipperOptions) {
    this.#env = env
    this.#network = network
    this.#options = options
    this.#queue = new RecordQueue(options.queueBytes ?? queueBytesDefault)
  }

  get state(): LogState {
    const [oldest] = this.#marks
    return {
      wanted: this.#wanted,
      lagMs: oldest === undefined ? 0 : Math.max(0, this.#env.clock.now() - oldest.atMs),
      covered: this.#covered,
      queuedBytes: this.#queue.bytes,
      loggedBytes: this.#loggedBytes,
      followers: [...this.#followers.values()].map(follower => follower.state),
      failing: this.#failing,
    }
  }

  /** What the engine says after some of its steps. */
  note({ cluster, incarnation, sequence, time, records, nodes }: Logged): void {
    if (this.#closed) return
    if (incarnation !== this.#incarnation) this.#beginAgain(cluster, incarnation)
    this.#nodes = nodes
    for (const [at, record] of records.entries()) {
      this.#queue.add(sequence - BigInt(records.length - 1 - at), record)
      this.#loggedBytes += record.length
    }
    this.#queue.reach(sequence)
    this.#sequence = sequence
    this.#mark(sequence, time)
    if (this.#base?.file !== undefined) this.#base.ends ??= { until: sequence, time }
    this.#choose()
    this.#look()
  }

  /** What was noted is stored first, if that does not take long. */
  async close(): Promise<void> {
    if (this.#marks.length > 0 && this.#followers.size > 0) {
      let timer: Timer | undefined
      await new Promise<void>(resolve => {
        this.#idle = resolve
        timer = this.#env.timers.after(closeMs, resolve)
      })
      timer?.cancel()
    }
    this.#closed = true
    for (const follower of this.#followers.values()) follower.close()
    this.#followers.clear()
  }

  get #wanted(): number {
    return Math.min(this.#options.copies, Math.max(1, this.#nodes.length))
  }

  /** A new engine: whatever was committed before is in no record of it. */
  #beginAgain(cluster: Uint8Array, incarnation: bigint): void {
    for (const follower of this.#followers.values()) follower.close()
    this.#followers.clear()
    this.#chosen = []
    this.#queue.clear()
    this.#told.clear()
    this.#cluster = cluster
    this.#incarnation = incarnation
    this.#sequence = 0n
    this.#base = undefined
    // Until there is a base nothing is covered, from the beginning on.
    this.#marks = [{ sequence: 0n, atMs: this.#env.clock.now(), time: 0n }]
  }

  #mark(sequence: bigint, time: bigint): void {
    const newest = this.#marks.at(-1)
    if (newest?.sequence === sequence) newest.time = time
    else this.#marks.push({ sequence, atMs: this.#env.clock.now(), time })
  }

  // ---- who has it

  #choose(): void {
    const suiting = this.#nodes.map(node => {
      const away = this.#followers.get(node.node)?.awayMs
      const suits = away === undefined ? node.suits : this.#stays(node, away)
      return { ...node, suits }
    })
    this.#chosen = chooseFollowers(suiting, new Set(this.#chosen), this.#options.copies)
    for (const node of this.#nodes) {
      const follower = this.#followers.get(node.node)
      if (follower !== undefined) follower.update(node)
      else if (this.#chosen.includes(node.node)) {
        this.#told.delete(node.node)
        const parts = {
          ...this.#parts,
          queue: this.#queue,
          changed: () => this.#look(),
        }
        this.#followers.set(node.node, new Follower(parts, node))
      }
    }
    this.#letLeave()
  }

  get #parts(): LogParts {
    return {
      env: this.#env,
      network: this.#network,
      cluster: this.#cluster,
      incarnation: this.#incarnation,
    }
  }

  /** One that has it is kept over a restart, and while nobody could take its place. */
  #stays(node: LogNode, awayMs: number): boolean {
    const spare = this.#nodes.some(other => other.suits && !this.#followers.has(other.node))
    return !spare || (awayMs < failoverMs && (node.suits || !node.isUp))
  }

  /** Those that were not chosen any more go when the chosen ones can do without them, or when they are lost. */
  #letLeave(): void {
    const covering = this.#chosen.filter(node => this.#followers.get(node)?.covers !== undefined).length
    for (const [node, follower] of this.#followers) {
      if (this.#chosen.includes(node)) continue
      const known = this.#nodes.some(other => other.node === node)
      if (known && covering < this.#wanted && follower.awayMs < failoverMs) continue
      follower.close()
      this.#followers.delete(node)
    }
  }

  // ---- what goes

  #look(): void {
    if (this.#closed) return
    for (const follower of this.#followers.values()) follower.pump()
    this.#makeBase()
    this.#trim()
    this.#cover()
    this.#tellOthers()
  }

  #makeBase(): void {
    const base = this.#base?.inUse === true ? this.#base : undefined
    if (base !== undefined) {
      for (const follower of this.#followers.values())
        if (follower.wantsBase && this.#queue.follows(base.after)) follower.give(base)
      return
    }
    const now = this.#env.clock.now()
    const followers = [...this.#followers.values()]
    const limit = Math.max(this.#options.rotateBytes ?? rotateBytesDefault, this.#baseBytes)
    const due = followers.some(follower => follower.wantsBase || follower.bytesSinceBase > limit)
    if (due && !this.#making && now >= this.#baseRetryMs) this.#beginBase(limit / 2)
  }

  /** Nodes that have logged more than this since theirs get the new one, too. */
  #beginBase(half: number): void {
    const base = new Base(this.#sequence)
    base.use()
    this.#base = base
    this.#making = true
    for (const follower of this.#followers.values())
      if (follower.wantsBase || follower.bytesSinceBase > half) follower.give(base)
    this.#options
      .takeBase()
      .then(file => {
        base.made(file)
        this.#failing = ''
        this.#baseBytes = file.bytes
      })
      .catch((error: unknown) => {
        this.#failing = messageOf(error)
        this.#baseRetryMs = this.#env.clock.now() + retryBaseMs
        this.#env.log.error('No base of the log could be made', { why: this.#failing })
        for (const follower of this.#followers.values()) follower.giveUp(base)
      })
      .finally(() => {
        this.#making = false
        // If nobody has use for it any more, it goes now.
        base.leave()
        this.#look()
      })
  }

  #trim(): void {
    const { after } = this.#base?.inUse === true ? this.#base : { after: this.#sequence }
    let needed = this.#queue.bytes > lateBytes ? this.#sequence : after
    for (const { keptFrom } of this.#followers.values())
      if (keptFrom !== undefined && keptFrom < needed) needed = keptFrom
    this.#queue.dropTo(needed)
  }

  #cover(): void {
    const covering = [...this.#followers.values()]
      .flatMap(({ covers }) => (covers === undefined ? [] : [covers]))
      .sort((one, other) => (one < other ? 1 : one > other ? -1 : 0))
    const upTo = covering[this.#wanted - 1]
    if (upTo === undefined) return
    for (;;) {
      const [mark] = this.#marks
      if (mark === undefined || mark.sequence > upTo) break
      if (mark.time > this.#covered) this.#covered = mark.time
      this.#marks.shift()
    }
    if (this.#marks.length === 0) this.#idle?.()
  }

  /** Nodes that had it once need not keep it when enough others do. */
  #tellOthers(): void {
    if (this.#marks.length > 0) return
    for (const node of this.#nodes) {
      if (!node.isUp || this.#followers.has(node.node) || this.#told.has(node.node)) continue
      this.#told.add(node.node)
      dropLog(this.#parts, node, error => {
        this.#env.log.debug('A node could not be told to forget the log', {
          node: node.node,
          why: messageOf(error),
        })
        this.#told.delete(node.node)
      })
    }
  }
}
