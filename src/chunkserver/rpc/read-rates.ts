/**
 * How fast blocks are read for mounts of exports that have a rate. What a token says of it, signed by the master, is enough for
 * this node to keep its part: so who goes to all nodes at once, or to one that does not reach the master, gets no more. What the
 * master tells beyond that, in answer to heartbeats, moves the larger part of the rate to where it is asked for.
 *
 * Whoever is over waits here, in order; nothing fails but when very many wait. What was too much is paid back: the account goes
 * below zero by one message at most for each that passes.
 */
import type { Clock, Timer, Timers } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import { minute, second } from '../../core/units.ts'
import type { ReadDemand, ReadShare } from '../../wire/gen/cairn/v1/nodes.ts'
import type { ReadTerms } from '../../wire/read-token.ts'
import { listOf, u64 } from '../../wire/validate.ts'

/** Of one export. */
const waitingMax = 16_384
const wakeMsMin = 5
/** Who gave up is noticed as often. */
const wakeMsMax = 250
/** What the master said is not believed for longer than some heartbeats. */
const shareMs = 10 * second
const idleMs = 1 * minute
const sharesMax = 1000

interface Waiting {
  readonly bytes: number
  readonly cancelled: () => boolean
  readonly resolve: (charged: number) => void
}

interface Account {
  /** Of the newest token: bytes a second that this node may always give (0: there is no rate), and until when it is good. */
  floor: number
  expiry: number
  share: { readonly bytesPerSecond: number; readonly atMs: number } | undefined
  left: number
  atMs: number
  /** Since the last heartbeat. */
  asked: number
  readonly waiting: Waiting[]
  waitingBytes: number
  timer: Timer | undefined
}

export class ReadRates {
  readonly #clock: Clock
  readonly #timers: Timers
  readonly #byExport = new Map<bigint, Account>()

  constructor({ clock, timers }: { readonly clock: Clock; readonly timers: Timers }) {
    this.#clock = clock
    this.#timers = timers
  }

  /**
   * Until so many bytes may be sent, or it was cancelled: how many of them were charged, none of who was cancelled while it
   * waited, or has no rate. At once when nobody has to wait. Throws EBUSY when too many wait.
   */
  admit(terms: ReadTerms | undefined, bytes: number, cancelled: () => boolean): number | Promise<number> {
    if (terms === undefined) return 0
    const account = this.#account(terms)
    if (account.waiting.length === 0 && this.#rate(account) === Infinity) {
      // The master is told all the same: a rate may have been set since the token was made.
      account.asked += bytes
      return 0
    }
    if (account.waiting.length === 0 && this.#refilled(account) > 0) {
      account.left -= bytes
      account.asked += bytes
      return bytes
    }
    if (account.waiting.length >= waitingMax)
      throw new FsError('EBUSY', 'too much waits for the rate at which the export may be read')
    return new Promise(resolve => {
      account.waiting.push({ bytes, cancelled, resolve })
      account.waitingBytes += bytes
      this.#wakeLater(account)
    })
  }

  /** So many bytes less went than were charged. */
  giveBack(terms: ReadTerms | undefined, bytes: number): void {
    const account = terms === undefined ? undefined : this.#byExport.get(terms.export)
    if (account === undefined || bytes <= 0) return
    account.left += bytes
    account.asked -= bytes
    if (account.waiting.length > 0) this.#pump(account)
  }

  /** What was asked for since the last time, for the master. */
  takeDemands(): ReadDemand[] {
    const now = this.#clock.now()
    const asking: (readonly [bigint, Account])[] = []
    for (const [number, account] of this.#byExport) {
      if (account.asked > 0 || account.waitingBytes > 0) {
        asking.push([number, account])
        continue
      }
      // What was given back is not taken from what is asked for next.
      account.asked = 0
      if (account.waiting.length === 0 && now - account.atMs > idleMs) this.#byExport.delete(number)
    }
    // Those that must wait for the master's word come first; who is not told now is told next time.
    const isRated = ({ floor, share }: Account): boolean => floor > 0 || share !== undefined
    if (asking.length > sharesMax) asking.sort(([, a], [, b]) => Number(isRated(b)) - Number(isRated(a)))
    return asking.slice(0, sharesMax).map(([number, account]) => {
      const bytes = Math.max(0, account.asked) + account.waitingBytes
      account.asked = 0
      return { export: number, bytes: BigInt(bytes) }
    })
  }

  noteShares(shares: readonly ReadShare[]): void {
    for (const share of listOf(shares, sharesMax, 'read_shares')) {
      const account = this.#byExport.get(share.export)
      const bytesPerSecond = u64(share.bytesPerSecond, 'read_shares.bytes_per_second')
      if (account === undefined) continue
      this.#refilled(account)
      account.share = { bytesPerSecond, atMs: this.#clock.now() }
      if (account.waiting.length > 0) this.#pump(account)
    }
  }

  #account({ export: number, bytesPerSecond, expiry }: ReadTerms): Account {
    let account = this.#byExport.get(number)
    if (account === undefined) {
      const atMs = this.#clock.now()
      account = {
        ...{ floor: bytesPerSecond, expiry, share: undefined, left: bytesPerSecond, atMs },
        ...{ asked: 0, waiting: [], waitingBytes: 0, timer: undefined },
      }
      this.#byExport.set(number, account)
    }
    // An older one may say more than is allowed by now.
    if (expiry >= account.expiry) {
      account.floor = bytesPerSecond
      account.expiry = expiry
    }
    return account
  }

  #rate({ floor, share }: Account): number {
    if (share !== undefined && this.#clock.now() - share.atMs <= shareMs) return share.bytesPerSecond
    return floor === 0 ? Infinity : floor
  }

  /** What is left of what may go in a second, as of now. */
  #refilled(account: Account): number {
    const now = this.#clock.now()
    const rate = this.#rate(account)
    account.left =
      rate === Infinity ? Infinity : Math.min(rate, account.left + ((now - account.atMs) * rate) / second)
    account.atMs = now
    return account.left
  }

  #pump(account: Account): void {
    const { waiting } = account
    for (let first = waiting[0]; first !== undefined; first = waiting[0]) {
      const over = first.cancelled()
      if (!over && this.#refilled(account) <= 0) break
      waiting.shift()
      account.waitingBytes -= first.bytes
      if (!over) {
        account.left -= first.bytes
        account.asked += first.bytes
      }
      first.resolve(over ? 0 : first.bytes)
    }
    this.#wakeLater(account)
  }

  #wakeLater(account: Account): void {
    if (account.timer !== undefined || account.waiting.length === 0) return
    const missing = Math.max(0, 1 - this.#refilled(account))
    const ms = Math.min(wakeMsMax, Math.max(wakeMsMin, (missing * second) / Math.max(1, this.#rate(account))))
    account.timer = this.#timers.after(ms, () => {
      account.timer = undefined
      this.#pump(account)
    })
  }
}
