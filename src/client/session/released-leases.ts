import type { Ino } from '../../core/ids.ts'

/**
 * Leases that were given back without being asked, and the calls whose replies may still grant them.
 * The master may have granted such a lease before it read of the release: it then believes that
 * nobody holds what the late reply hands over. A grant that comes with a reply to a call made before
 * the release is therefore not taken. (Declined for nothing, it costs one recall.)
 */
export class ReleasedLeases {
  readonly #until = new Map<Ino, bigint>()

  /** `lastCall` is the id of the last call made before the release. */
  add(ino: Ino, lastCall: bigint): void {
    this.#until.delete(ino)
    this.#until.set(ino, lastCall)
  }

  mayGrant(ino: Ino, call: bigint): boolean {
    const until = this.#until.get(ino)
    return until === undefined || call > until
  }

  /** Every call below `firstUnanswered` was answered. */
  forget(firstUnanswered: bigint): void {
    for (const [ino, until] of this.#until) {
      if (until >= firstUnanswered) return
      this.#until.delete(ino)
    }
  }

  clear(): void {
    this.#until.clear()
  }
}
