import { must } from '../../core/assert.ts'
import type { Clock } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import { blockIdToBytes } from '../../core/ids.ts'
import { blockBytesMax } from '../../core/limits.ts'
import { nsPerSecond } from '../../core/units.ts'
import type { Grant, Receipt } from '../../wire/gen/cairn/v1/common.ts'
import type { ReadKey as WireKey } from '../../wire/gen/cairn/v1/nodes.ts'
import { isGrantMac, receiptMac } from '../../wire/mac.ts'
import {
  isReadToken,
  makeReadToken,
  noSession,
  readExpiryMax,
  type ReadKey,
  readKey,
  readKeyBytes,
  readTokenClaim,
  type ReadTerms,
} from '../../wire/read-token.ts'
import { bytesOf, listOf, required, toDedupDomain, toGeneration, u63 } from '../../wire/validate.ts'
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

/** A master that starts anew again and again tells others each time, while the older ones are still good. */
const readKeysMax = 32
/** Of a token of its own for another node. */
const ownTokenNs = 120n * nsPerSecond

interface KnownReadKey extends ReadKey {
  readonly from: bigint
  readonly until: bigint
}

/** Who opened a stream of blocks, as tokens name it. */
export interface Reader {
  readonly session: bigint
  readonly bytes: Uint8Array
}

/** Judges grants and tokens and makes receipts, by the key and the clock that the master gave. Serves across its absence. */
export class Authority {
  readonly #clock: Clock
  #membership: Membership | undefined
  /** Sessions below this id have ended, unless they are listed. */
  #sessionsBelow = 0n
  #liveSessions: ReadonlySet<bigint> = new Set()
  readonly #endedSessions = new Set<bigint>()
  /** By id, oldest first. */
  readonly #readKeys = new Map<bigint, KnownReadKey>()
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

  /** What was told before stays good until it expires: it is in the hands of readers. */
  noteReadKeys(keys: readonly WireKey[]): void {
    for (const { id, key, from, until } of listOf(keys, readKeysMax, 'read_keys')) {
      bytesOf(key, readKeyBytes, 'read_keys.key')
      this.#readKeys.delete(id)
      this.#readKeys.set(id, { ...readKey(id, key), from, until })
    }
    const now = this.#now()
    for (const [id, { until }] of this.#readKeys)
      if (until < now || this.#readKeys.size > readKeysMax) this.#readKeys.delete(id)
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
    toDedupDomain(grant.dedupDomain, 'put.grant.dedup_domain')
    if (this.#membership === undefined)
      throw new FsError('EAGAIN', 'this node has not reached its master yet')
    const { node, key } = this.#membership
    if (grant.node !== node) throw new FsError('ESTALE', `grant for node ${grant.node}, this is node ${node}`)
    if (!isGrantMac(key, { ...grant, block: blockIdToBytes(id), length }, grant.mac))
      throw new FsError('EACCES', `grant for block ${id} was not made by the master of this node`)
    if (this.#hasEnded(grant.session))
      throw new FsError('ESTALE', `grant for block ${id}: session ${grant.session} has ended`)
    if (grant.expiry < this.#now()) throw new FsError('ESTALE', `grant for block ${id} has expired`)
    // Their buffers are those of a whole message.
    return { ...grant, mac: new Uint8Array(0), dedupDomain: new Uint8Array(grant.dedupDomain) }
  }

  /**
   * Throws EACCES for a token that never was good for this block and reader, ESTALE for one that was, EAGAIN before the
   * first registration. Returns the terms on which it is good.
   */
  checkRead(token: Uint8Array, block: Uint8Array, { session, bytes }: Reader): ReadTerms | undefined {
    if (this.#readKeys.size === 0) throw new FsError('EAGAIN', 'this node has not reached its master yet')
    const claim = readTokenClaim(token)
    if (claim === undefined) {
      const what =
        token.length === 0
          ? 'comes without a token (a mount of an older version must be mounted anew)'
          : `${token.length} bytes are no token`
      throw new FsError('EACCES', `get of block ${hex(block)}: ${what}`)
    }
    const key = this.#readKeys.get(claim.keyId)
    const now = this.#now()
    if (key === undefined || key.until < now)
      throw new FsError('ESTALE', `token for block ${hex(block)}: its key is not known here, or not any more`)
    if (!isReadToken(key.key, bytes, token, block))
      throw new FsError('EACCES', `token for block ${hex(block)} was not made for it and this reader`)
    if (BigInt(claim.expiry) * nsPerSecond < now)
      throw new FsError('ESTALE', `token for block ${hex(block)} has expired`)
    if (this.#hasEnded(session))
      throw new FsError('ESTALE', `token for block ${hex(block)}: session ${session} has ended`)
    return claim.terms
  }

  /** The right to read a block from another node: only nodes have the keys. Empty before the first registration. */
  ownToken(block: Uint8Array): Uint8Array {
    const now = this.#now()
    let used: KnownReadKey | undefined
    for (const key of this.#readKeys.values())
      if (key.from <= now && key.until >= now && (used === undefined || key.from >= used.from)) used = key
    if (used === undefined) return new Uint8Array(0)
    const expiry = Math.min(readExpiryMax, Number((now + ownTokenNs) / nsPerSecond))
    return makeReadToken(used, noSession, expiry, block)
  }

  /** Only for what is on stable storage. It ends with the grant: what is not committed by then may be deleted as a stray. */
  receipt(grant: Grant, { id, length }: BlockClaim, generation: bigint): Receipt {
    const { node, incarnation, key } = must(this.#membership, 'membership')
    const { session, epoch } = grant
    const claim = { node, incarnation, generation, session, epoch, expiry: grant.expiry }
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

const hex = (block: Uint8Array): string => Buffer.from(block).toString('hex').slice(0, 64)
