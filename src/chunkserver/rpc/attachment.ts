import type { Env, Timer } from '../../core/env.ts'
import { FsError, UsageError } from '../../core/errors.ts'
import { wireVersion, wireVersionMin } from '../../core/limits.ts'
import { second } from '../../core/units.ts'
import type { Link } from '../../core/network.ts'
import type {
  Accepted,
  CopyOrder,
  CopyResult,
  Delete,
  NodeDown,
  NodeUp,
} from '../../wire/gen/cairn/v1/nodes.ts'
import type { ScrubState } from '../../wire/gen/cairn/v1/common.ts'
import { bytesUpTo, oneofPresent, toBlockId, toBlockLength, toNodeId, u32, u63 } from '../../wire/validate.ts'
import type { BlockStore } from '../blocks/block-store.ts'
import type { Copier } from '../copy/copier.ts'
import type { Authority } from './authority.ts'
import { ChangeFeed, damagedItem } from './change-feed.ts'
import { errorOf } from './peer-link.ts'
import { Permits } from './permits.ts'
import type { ReadRates } from './read-rates.ts'
import type { Traffic } from './traffic.ts'
import { UnprovenFeed } from './unproven-feed.ts'

export interface NodeDescription {
  /** Where other nodes and clients reach this one. */
  readonly address: string
  readonly zone: string
  /** Identity of the machine. */
  readonly host: string
  /** Name and version, for people. */
  readonly program: string
}

export interface AttachmentParts {
  readonly env: Env
  readonly store: BlockStore
  readonly authority: Authority
  readonly copier: Copier
  readonly readRates: ReadRates
  readonly describe: NodeDescription
  /** Streams that are open. */
  readonly load: () => number
  /** The master asks for a round of the scrubber. */
  readonly scrub: (bytesPerSecond: bigint) => void
  readonly scrubbing: () => ScrubState
  readonly traffic: Traffic
}

/** How an attachment ended: `fatal` is for the operator, and trying again is no use. */
export interface AttachmentEnd {
  readonly error: FsError
  readonly fatal: UsageError | undefined
  readonly accepted: boolean
}

/** Heartbeats without an answer after which the connection is given up. */
const missedMax = 3
/** For the master's answer to a registration. */
const registerMs = 15 * second
const deletesAtOnce = 64
const earlyMax = 1000
/** Refusals that pass by themselves. */
const passing: ReadonlySet<FsError['code']> = new Set(['EAGAIN', 'ETIMEDOUT', 'ECANCELED'])

/**
 * One connection to the master, from register to its end. Nothing here waits for a disk before a
 * heartbeat: a slow disk must not look like a dead node.
 */
export class Attachment {
  readonly ended: Promise<AttachmentEnd>
  readonly #parts: AttachmentParts
  readonly #link: Link<NodeUp, NodeDown>
  readonly #deletes = new Permits(deletesAtOnce)
  /** Orders to delete that are not answered. */
  readonly #deleting = new Set<Promise<void>>()
  #finish: (end: AttachmentEnd) => void = () => undefined
  #fatal: UsageError | undefined
  #accepted: Accepted | undefined
  #accepting = false
  /** What the master said while the folder was told whose it is. */
  #early: NodeDown[] = []
  #feed: ChangeFeed | undefined
  #unproven: UnprovenFeed | undefined
  #heartbeat: Timer | undefined
  #unanswered = 0
  #over = false
  #left = false
  #release: (() => void)[] = []
  #copied: CopyResult[] = []

  constructor(parts: AttachmentParts, link: Link<NodeUp, NodeDown>) {
    this.#parts = parts
    this.#link = link
    this.ended = new Promise(resolve => {
      this.#finish = resolve
    })
    link.onFrame(frame => this.#receive(frame))
    link.onClose(error => this.#end(error))
    this.#register()
  }

  /** The master has accepted this node, and the connection stands. */
  get isAccepted(): boolean {
    return this.#accepted !== undefined && !this.#over
  }

  /** It ends by our own wish. */
  get left(): boolean {
    return this.#left
  }

  /** In order, for maintenance; of a node that ends because its folder is gone nothing is to be expected back. */
  goodbye(): void {
    this.#left = true
    if (!this.#parts.store.isGone) this.#send({ $case: 'goodbye', value: {} })
    this.#link.close()
  }

  #register(): void {
    const { store, describe } = this.#parts
    const { cluster, node, store: identity, incarnation } = store.identity
    const { blocks, sequence } = store.totals
    const { totalBytes, usedBytes } = store.space.status()
    this.#send({
      $case: 'register',
      value: {
        versionMin: wireVersionMin,
        versionMax: wireVersion,
        cluster,
        node,
        store: identity,
        incarnation,
        ...describe,
        totalBytes: wholeBytes(totalBytes),
        usedBytes: wholeBytes(usedBytes),
        blocks: BigInt(blocks),
        sequence,
      },
    })
    // Until the master's answer there are no heartbeats by which a dead connection would be noticed.
    this.#heartbeat = this.#parts.env.timers.after(registerMs, () =>
      this.#link.close(new FsError('ETIMEDOUT', 'the master does not answer the registration')),
    )
  }

  #receive(frame: NodeDown): void {
    const item = oneofPresent(frame.item, 'node frame')
    if (item.$case === 'refused') {
      this.#refused(errorOf(item.value.error))
      return
    }
    if (item.$case === 'accepted') {
      this.#accept(item.value)
      return
    }
    const feed = this.#feed
    if (item.$case === 'heartbeat') {
      this.#unanswered = 0
      this.#parts.authority.noteTime(item.value.time)
      this.#parts.authority.sessionsEnded(item.value.endedSessions)
      this.#parts.authority.noteReadKeys(item.value.readKeys)
      this.#parts.readRates.noteShares(item.value.readShares)
      this.#unproven?.proved(item.value.proven)
      return
    }
    if (feed === undefined) {
      if (!this.#accepting || this.#early.length >= earlyMax)
        throw new FsError('EPROTO', `node stream: ${item.$case} before accepted`)
      this.#early.push(frame)
      return
    }
    switch (item.$case) {
      case 'ackChanges': {
        feed.acked(u63(item.value.sequence, 'ack_changes.sequence'))
        return
      }
      case 'askDigest': {
        feed.digest(item.value.prefixBits)
        return
      }
      case 'askBuckets': {
        feed.buckets(item.value.prefixBits, item.value.buckets)
        return
      }
      case 'delete':
        this.#delete(item.value)
        return
      case 'copy':
        for (const order of item.value.orders) void this.#copy(order)
        return
      case 'scrub':
        this.#parts.scrub(u63(item.value.bytesPerSecond, 'scrub.bytes_per_second'))
    }
  }

  #refused(error: FsError): void {
    if (!passing.has(error.code))
      this.#fatal = new UsageError(`the master refuses this node: ${error.message}`)
    this.#link.close(error)
  }

  #accept(accepted: Accepted): void {
    if (this.#accepting) throw new FsError('EPROTO', 'node stream: a second accepted')
    this.#accepting = true
    const { store, authority } = this.#parts
    const node = toNodeId(accepted.node, 'accepted.node')
    const cluster = bytesUpTo(accepted.cluster, 64, 'accepted.cluster')
    toBlockLength(accepted.blockBytes, 'accepted.block_bytes')
    u32(accepted.heartbeatMs, 'accepted.heartbeat_ms', 3_600_000, 10)
    u63(accepted.knownSequence, 'accepted.known_sequence')
    if (accepted.key.length < 16 || cluster.length === 0)
      throw new FsError('EPROTO', 'accepted: key or cluster is too short')
    const known = store.identity
    const same = known.node === node && Buffer.compare(known.cluster, cluster) === 0
    const ofCluster = Buffer.compare(known.cluster, cluster) === 0 && known.node === 0n
    if (!same && !ofCluster && known.cluster.length > 0) {
      this.#fatal = new UsageError('this folder belongs to another cluster than the master')
      this.#link.close()
      return
    }
    authority.noteTime(accepted.time)
    authority.noteSessions(u63(accepted.sessionsBelow, 'accepted.sessions_below'), accepted.liveSessions)
    authority.noteReadKeys(accepted.readKeys)
    this.#accepted = accepted
    this.#heartbeat?.cancel()
    this.#beat()
    // Nothing may be stored before the folder knows whose it is.
    const joined = same ? Promise.resolve() : store.join(cluster, node)
    joined.then(() => this.#begin(accepted)).catch((error: unknown) => this.#link.close(FsError.from(error)))
  }

  #begin(accepted: Accepted): void {
    if (this.#over) return
    const { store, authority, env } = this.#parts
    const { cluster, node, incarnation } = store.identity
    const key = new Uint8Array(accepted.key)
    authority.accept({ cluster, node, incarnation, key, blockBytes: accepted.blockBytes })
    const feed = new ChangeFeed(env.timers, store, accepted.knownSequence, this.#link, error =>
      this.#link.close(error),
    )
    this.#feed = feed
    this.#unproven = new UnprovenFeed(store, env.log, () => this.#report())
    for (const damage of store.damages) this.#send(damagedItem(damage))
    this.#release.push(
      store.onChange(() => feed.pump()),
      store.damages.onDamage(damage => this.#send(damagedItem(damage))),
      () => feed.close(),
      () => this.#unproven?.close(),
    )
    env.log.info('attached to the master', { node, master: this.#link.peer })
    for (const frame of this.#early.splice(0)) this.#receive(frame)
  }

  #beat(): void {
    if (this.#accepted === undefined || this.#over) return
    if (this.#unanswered++ >= missedMax) {
      this.#link.close(new FsError('ETIMEDOUT', 'the master does not answer heartbeats'))
      return
    }
    this.#report()
    this.#heartbeat = this.#parts.env.timers.after(this.#accepted.heartbeatMs, () => this.#beat())
  }

  #report(): void {
    const { env, store, load, scrubbing, traffic } = this.#parts
    const { totalBytes, usedBytes, refusing, failing } = store.space.status()
    this.#send({
      $case: 'heartbeat',
      value: {
        totalBytes: wholeBytes(totalBytes),
        usedBytes: wholeBytes(usedBytes),
        blocks: BigInt(store.totals.blocks),
        refusing: refusing !== undefined,
        reason: (refusing ?? '').slice(0, 200),
        load: load(),
        failing,
        scrub: scrubbing(),
        receivedBytes: BigInt(traffic.receivedBytes),
        sentBytes: BigInt(traffic.sentBytes),
        sentMs: BigInt(Math.floor(env.clock.now())),
        readDemands: this.#parts.readRates.takeDemands(),
        unproven: this.#unproven?.next() ?? [],
      },
    })
  }

  #delete(wire: Delete): void {
    const deleting = this.#carryOut(wire)
    this.#deleting.add(deleting)
    void deleting.then(() => this.#deleting.delete(deleting))
  }

  async #carryOut({ order, blocks }: Delete): Promise<void> {
    const results = await Promise.all(
      blocks.map(async ({ id, generation }) => {
        try {
          const block = toBlockId(id, 'delete.id')
          await this.#deletes.run(async () => {
            if (this.#over) throw new FsError('ECANCELED', 'the master is gone')
            await this.#parts.store.remove(block, generation)
          })
          return []
        } catch (error) {
          const { errno, message } = FsError.from(error)
          return [{ errno, message }]
        }
      }),
    )
    const { sequence } = this.#parts.store.totals
    this.#send({ $case: 'deleted', value: { order, errors: results.flat(), sequence } })
    // Writers may be waiting for the space.
    if (!this.#over) this.#report()
  }

  async #copy(order: CopyOrder): Promise<void> {
    const result = await this.#parts.copier.copy(order)
    this.#copied.push(result)
    if (this.#copied.length > 1) return
    // What the same sync stored is told together.
    this.#parts.env.timers.soon(() =>
      this.#send({ $case: 'copied', value: { results: this.#copied.splice(0) } }),
    )
  }

  #send(item: NonNullable<NodeUp['item']>): void {
    this.#link.send({ item })
  }

  #end(error: FsError | undefined): void {
    this.#over = true
    this.#heartbeat?.cancel()
    for (const release of this.#release) release()
    const end = {
      error: error ?? new FsError('ECONNRESET', 'the master closed the connection'),
      fatal: this.#fatal,
      accepted: this.#accepted !== undefined,
    }
    // What is being deleted is not to be reported as kept to the next connection.
    void Promise.all(this.#deleting).then(() => this.#finish(end))
  }
}

/** For the wire, which has no fractions and no infinity. */
function wholeBytes(bytes: number): bigint {
  return BigInt(Math.max(0, Math.floor(Math.min(bytes, Number.MAX_SAFE_INTEGER))))
}
