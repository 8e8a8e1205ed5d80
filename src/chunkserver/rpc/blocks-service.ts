import type { Checksums } from '../../core/checksum.ts'
import type { Env } from '../../core/env.ts'
import type { Serving } from '../../core/network.ts'
import { RequestLog, slowMsDefault } from '../../core/request-log.ts'
import { MiB, minute, second } from '../../core/units.ts'
import { blocksOpen } from '../../wire/services.ts'
import { Denials } from '../../wire/tls/denials.ts'
import type { BlockStore } from '../blocks/block-store.ts'
import type { Authority } from './authority.ts'
import { BlocksStream } from './blocks-stream.ts'
import type { Peers } from './peers.ts'
import { Permits } from './permits.ts'
import type { ReadRates } from './read-rates.ts'
import { ReceiveBudget } from './receive-budget.ts'
import { Traffic } from './traffic.ts'
import type { UserActivity } from './user-activity.ts'

export interface BlocksServiceParts {
  readonly env: Env
  readonly store: BlockStore
  readonly authority: Authority
  readonly peers: Peers
  readonly checksums: Checksums
  readonly users: UserActivity
  readonly readRates: ReadRates
  /** Identity of this machine. */
  readonly host: string
  /** A put of which nothing came for so long is given up, ms. */
  readonly putSilentMs?: number | undefined
  /** What takes a program longer is slow. */
  readonly slowMs?: number | undefined
  /** Hears of the data that passes, in bytes. */
  readonly onMoved?: ((bytes: number) => void) | undefined
}

/** What all streams together may hold of received data, so that memory does not grow with the clients. */
const receiveBytesMax = 16 * MiB
/** Messages of up to 1 MiB that all gets together may have read and not yet sent. */
const readsMax = 16
/** A node that stores or forwards nothing for this long is given up; a chain's head waits longer than its tail. */
const peerPatienceMs = 15 * second

/** Longer than any client of ours waits for what it does not get rid of. */
const putSilentDefaultMs = 1 * minute

/** The Blocks service of a node: puts and gets by whoever speaks the protocol. */
export class BlocksService {
  readonly #parts: BlocksServiceParts
  readonly #budget = new ReceiveBudget(receiveBytesMax)
  readonly #reads = new Permits(readsMax)
  readonly traffic: Traffic
  readonly #requests: RequestLog
  readonly #denials: Denials
  #streams = 0

  constructor(parts: BlocksServiceParts) {
    this.#parts = parts
    this.traffic = new Traffic(parts.onMoved)
    const { log, clock } = parts.env
    this.#denials = new Denials(log, () => clock.now())
    this.#requests = new RequestLog(
      (message, fields) => log.warn(message, fields),
      () => clock.now(),
      parts.slowMs ?? slowMsDefault,
    )
  }

  /** Streams that are open: a measure of load. */
  get streams(): number {
    return this.#streams
  }

  register(serving: Serving): void {
    serving.stream(blocksOpen, (link, caller) => {
      this.#streams++
      const closed = (): void => {
        this.#streams--
      }
      new BlocksStream(
        {
          ...this.#parts,
          budget: this.#budget,
          reads: this.#reads,
          traffic: this.traffic,
          requests: this.#requests,
          denials: this.#denials,
          peerPatienceMs,
          putSilentMs: this.#parts.putSilentMs ?? putSilentDefaultMs,
        },
        link,
        caller,
        closed,
      )
    })
  }
}
