/**
 * The keys of tokens to read blocks (wire/read-token.ts). One is in use, and the next one is known to the nodes all
 * that time already, so that one that cannot hear the master for a while still knows it. In memory only: a master that
 * starts makes new ones, and what it gave out before stays good until it expires.
 */
import { nsPerSecond } from '../../core/units.ts'
import type { ReadKey as WireKey } from '../../wire/gen/cairn/v1/nodes.ts'
import {
  makeReadToken,
  noSession,
  type ReadKey,
  readKey,
  readKeyBytes,
  readerOf,
  type ReadTerms,
} from '../../wire/read-token.ts'
import type { Turn } from '../engine/turn.ts'
import { ns } from '../nodes/node-registry.ts'

interface Key extends ReadKey {
  readonly wire: WireKey
}

/** Makes tokens for one reader. */
export interface TokenMaker {
  /** When they expire, ns. */
  readonly until: bigint
  make(block: Uint8Array): Buffer
}

export class ReadKeys {
  readonly #turn: Turn
  #current: Key
  #next: Key

  constructor(turn: Turn) {
    this.#turn = turn
    this.#current = this.#new(turn.time)
    this.#next = this.#new(turn.time + ns(turn.settings.readKeyMs))
  }

  /** What a node must know. */
  get all(): WireKey[] {
    return [this.#current.wire, this.#next.wire]
  }

  /** Takes the next one into use when its time has come; returns those that nodes have to hear of then. */
  rotate(): readonly WireKey[] {
    const { time, settings } = this.#turn
    if (time < this.#next.wire.from) return []
    this.#current = this.#next
    this.#next = this.#new(time + ns(settings.readKeyMs))
    return this.all
  }

  /** For a session, as the identity that it came with; undefined for an administrator. */
  maker(
    who?: { readonly session: bigint; readonly epoch: bigint; readonly identity: string },
    terms?: Omit<ReadTerms, 'expiry'>,
  ): TokenMaker {
    const reader = who === undefined ? noSession : readerOf(who.session, who.epoch, who.identity)
    const key = this.#current
    const { time, settings } = this.#turn
    const wanted = time + ns(settings.readTokenMs)
    const expiry = Number((wanted < key.wire.until ? wanted : key.wire.until) / nsPerSecond)
    return {
      until: BigInt(expiry) * nsPerSecond,
      make: block => makeReadToken(key, reader, expiry, block, terms),
    }
  }

  #new(from: bigint): Key {
    const { settings } = this.#turn
    const entropy = this.#turn.entropy.aside(`read key of ${from}`)
    const secret = entropy.bytes(readKeyBytes)
    const id = entropy.bytes(8).readBigUInt64BE()
    // The next one is in use in the last of this time, unless the master stood still.
    const until = from + ns(settings.readKeyMs + settings.readTokenMs)
    return { ...readKey(id, secret), wire: { id, key: secret, from, until } }
  }
}
