import { createHash } from 'node:crypto'

/**
 * Unpredictable bytes for secrets and draws, stretched from what comes in with every batch: the
 * engine reads no source of randomness itself, so that a seed replays it.
 */
export class Entropy {
  #state: Buffer = Buffer.alloc(32)
  #pool: Buffer = Buffer.alloc(0)
  #at = 0
  #counter = 0

  /** Mixes fresh bytes into everything that is drawn from now on. */
  mix(fresh: Uint8Array): void {
    this.#state = createHash('sha256').update('mix').update(this.#state).update(fresh).digest()
    this.#pool = Buffer.alloc(0)
    this.#at = 0
  }

  /** Draws for one purpose, which do not change what is drawn from this one afterwards. The same again between two mixes. */
  aside(purpose: string): Entropy {
    const other = new Entropy()
    other.#state = createHash('sha256').update('aside').update(this.#state).update(purpose).digest()
    return other
  }

  bytes(count: number): Buffer {
    const result = Buffer.alloc(count)
    for (let filled = 0; filled < count; ) {
      if (this.#at === this.#pool.length) this.#refill()
      const part = this.#pool.subarray(this.#at, this.#at + count - filled)
      result.set(part, filled)
      filled += part.length
      this.#at += part.length
    }
    return result
  }

  /** Uniform integer from 0 to bound - 1; bound at most 2^32 (the bias is below 2^-16). */
  readonly below = (bound: number): number =>
    Number(BigInt(`0x${this.bytes(6).toString('hex')}`) % BigInt(bound))

  #refill(): void {
    this.#pool = createHash('sha256')
      .update('draw')
      .update(this.#state)
      .update(String(this.#counter++))
      .digest()
    this.#at = 0
  }
}
