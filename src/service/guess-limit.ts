import { hostOfPeer } from '../core/address.ts'
import type { Clock } from '../core/env.ts'
import { minute } from '../core/units.ts'

/** Wrong secrets that one address may come with in `periodMs`: a typing error is not the only one that people make. */
export const wrongMax = 10
const periodMs = 1 * minute
/** Addresses that are remembered; of more, those that were quiet longest are forgotten. */
const addressesMax = 4096

interface Wrong {
  count: number
  readonly untilMs: number
}

/** Who has tried wrong secrets may try no more for a while. Secrets are too long to be guessed: this spares us the work. */
export class GuessLimit {
  readonly #clock: Clock
  readonly #most: number
  readonly #wrong = new Map<string, Wrong>()

  constructor(clock: Clock, most: number = wrongMax) {
    this.#clock = clock
    this.#most = most
  }

  /** How long whoever is at `peer` (ADDRESS:PORT) has to wait, ms; 0: it may try. */
  waitMs(peer: string): number {
    const wrong = this.#wrong.get(hostOfPeer(peer))
    if (wrong === undefined || wrong.count < this.#most) return 0
    return Math.max(0, wrong.untilMs - this.#clock.now())
  }

  /** It came with a token that is not good. */
  note(peer: string): void {
    const address = hostOfPeer(peer)
    const now = this.#clock.now()
    const before = this.#wrong.get(address)
    const wrong =
      before === undefined || before.untilMs <= now ? { count: 0, untilMs: now + periodMs } : before
    wrong.count += 1
    // The first of a map is who was added first.
    this.#wrong.delete(address)
    this.#wrong.set(address, wrong)
    if (this.#wrong.size > addressesMax) this.#wrong.delete(this.#wrong.keys().next().value ?? '')
  }
}
