/** How much was done lately: amounts by the second, over a window that moves. */
const windowSeconds = 20

export class RateMeter {
  readonly #amounts = new Map<number, number>()
  #beganMs: number | undefined

  add(nowMs: number, amount: number): void {
    const at = Math.floor(nowMs / 1000)
    // After a pause the rate is that of what began again.
    if (this.perSecond(nowMs) === 0) this.#beganMs = nowMs
    this.#amounts.set(at, (this.#amounts.get(at) ?? 0) + amount)
    for (const second of this.#amounts.keys()) if (second <= at - windowSeconds) this.#amounts.delete(second)
  }

  perSecond(nowMs: number): number {
    const now = Math.floor(nowMs / 1000)
    let sum = 0
    for (const [second, amount] of this.#amounts) if (second > now - windowSeconds) sum += amount
    const elapsed = Math.min(windowSeconds, Math.max(1, (nowMs - (this.#beganMs ?? nowMs)) / 1000))
    return sum / elapsed
  }
}

/** Milliseconds that `left` takes at a rate; 0 when it is not known. */
export const timeFor = (left: number, perSecond: number): number =>
  perSecond <= 0 ? 0 : Math.round((left / perSecond) * 1000)
