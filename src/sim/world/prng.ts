/** A repeatable source of numbers (sfc32 seeded by splitmix): everything that chance decides in a run comes from one. */
export class Prng {
  #a: number
  #b: number
  #c: number
  #d = 1

  constructor(seed: number) {
    let state = seed | 0
    const next = () => {
      state = (state + 0x9e3779b9) | 0
      let z = state
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b)
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
      return (z ^ (z >>> 16)) | 0
    }
    this.#a = next()
    this.#b = next()
    this.#c = next()
    for (let n = 0; n < 12; n++) this.u32()
  }

  u32(): number {
    const t = (((this.#a + this.#b) | 0) + this.#d) | 0
    this.#d = (this.#d + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + t
    this.#c |= 0
    return t >>> 0
  }

  /** From 0 to below 1. */
  unit(): number {
    return this.u32() / 2 ** 32
  }

  below(bound: number): number {
    return Math.floor(this.unit() * bound)
  }

  between(low: number, high: number): number {
    return low + this.unit() * (high - low)
  }

  chance(probability: number): boolean {
    return this.unit() < probability
  }

  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new RangeError('nothing to pick from')
    return items[this.below(items.length)] as T
  }

  bytes(count: number): Buffer {
    const out = Buffer.allocUnsafe(count)
    for (let n = 0; n < count; n++) out[n] = this.u32() & 0xff
    return out
  }

  /** A generator of its own, so that what one part draws does not shift what another gets. */
  fork(): Prng {
    return new Prng(this.u32())
  }
}
