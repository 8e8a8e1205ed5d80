import { must } from '../../core/assert.ts'
import type { Clock } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import { blockIdToBytes } from '../../core/ids.ts'
import { blockBytesMax } from '../../core/limits.ts'
import { hour, nsPerMs } from '../../core/units.ts'
import type { Grant, Receipt } from '../../wire/gen/cairn/v1/common.ts'
import { isGrantMac, receiptMac } from '../../wire/mac.ts'
import { required, toGeneration, u63 } from '../../wire/validate.ts'
import type { BlockClaim } from '../blocks/block-verifier.ts'

/** What the master said when it accepted this node. */
export interface Membership {
  readonly cluster: Uint8Array
  readonly node: bigint
  readonly incarnation: bigint
  /** Shared by master and node alone. */
  readonly key: Uint8Array
  readonly blockBytes: number
}

/** A receipt outlives the retries of a commit over a restart of the master. */
const receiptNs = BigInt(hour) * nsPerMs

/** Judges grants and makes receipts, by the key and the clock that the master gave. Serves across its absence. */
export class Authority {
  readonly #clock: Clock
  #membership: Membership | undefined
  /** Sessions below this id have ended, unless they are listed. */
  #sessionsBelow = 0n
  #liveSessions: ReadonlySet<bigint> = new Set()
  readonly #endedSessions = new Set<bigint>()
  #time = 0n
  #timeAt = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  accept(membership: Membership): void {
    this.#membership = membership
  }

  /** The sessions that go on, as the master knows when it accepts this node. */
  noteSessions(below: bigint, live: readonly bigint[]): void {
    this.#sessionsBelow = below
    this.#liveSessions = new Set(live)
    this.#endedSessions.clear()
  }

  /** The mounts of these may still be writing: they have yet to hear that they are dead. */
  sessionsEnded(sessions: readonly bigint[]): void {
    for (const session of sessions) this.#endedSessions.add(session)
  }

  /** The master's clock stands at `time`, ns. */
  noteTime(time: bigint): void {
    this.#time = time
    this.#timeAt = this.#clock.now()
  }

  get membership(): Membership | undefined {
    return this.#membership
  }

  /** Largest block of the cluster, as far as known. */
  get blockBytes(): number {
    return this.#membership?.blockBytes ?? blockBytesMax
  }

  /** Throws EAGAIN before the first registration, ESTALE for a grant that was good once, EACCES for one that never was. */
  checkGrant(given: Grant | undefined, { id, length }: BlockClaim): Grant {
    const grant = required(given, 'put.grant')
    toGeneration(grant.generation, 'put.grant.generation')
    u63(grant.session, 'put.grant.session')
    u63(grant.epoch, 'put.grant.epoch')
    if (this.#membership === undefined)
      throw new FsError('EAGAIN', 'this node has not reached its master yet')
    const { node, key } = this.#membership
    if (grant.node !== node) throw new FsError('ESTALE', `grant for node ${grant.node}, this is node ${node}`)
    if (!isGrantMac(key, { ...grant, block: blockIdToBytes(id), length }, grant.mac))
      throw new FsError('EACCES', `grant for block ${id} was not made by the master of this node`)
    if (this.#hasEnded(grant.session))
      throw new FsError('ESTALE', `grant for block ${id}: session ${grant.session} has ended`)
    if (grant.expiry < this.#now()) throw new FsError('ESTALE', `grant for block ${id} has expired`)
    // Its buffer is that of a whole message.
    return { ...grant, mac: new Uint8Array(0) }
  }

  /** Only for what is on stable storage. */
  receipt(grant: Grant, { id, length }: BlockClaim, generation: bigint): Receipt {
    const { node, incarnation, key } = must(this.#membership, 'membership')
    const { session, epoch } = grant
    const claim = { node, incarnation, generation, session, epoch, expiry: this.#now() + receiptNs }
    return { ...claim, mac: receiptMac(key, { ...claim, block: blockIdToBytes(id), length }) }
  }

  /** Orders of the master's own have no session. */
  #hasEnded(session: bigint): boolean {
    if (session === 0n) return false
    const isOld = session < this.#sessionsBelow && !this.#liveSessions.has(session)
    return isOld || this.#endedSessions.has(session)
  }

  #now(): bigint {
    return this.#time + BigInt(Math.floor((this.#clock.now() - this.#timeAt) * 1e6))
  }
}
