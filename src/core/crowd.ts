/**
 * What came and has not got further yet, by the address it came from, oldest first. When there is no room for all, the
 * oldest of the address that has most of them goes: whoever comes in masses keeps out only itself.
 */
export class Crowd<T> {
  readonly #byAddress = new Map<string, Map<string, T>>()
  #size = 0

  get size(): number {
    return this.#size
  }

  /** `end` is its own, such as ADDRESS:PORT. */
  add(address: string, end: string, item: T): void {
    const known = this.#byAddress.get(address)
    if (known === undefined) this.#byAddress.set(address, new Map([[end, item]]))
    else known.set(end, item)
    this.#size++
  }

  delete(address: string, end: string): void {
    const known = this.#byAddress.get(address)
    if (known?.delete(end) !== true) return
    if (known.size === 0) this.#byAddress.delete(address)
    this.#size--
  }

  oldestOfMost(): T | undefined {
    let most: ReadonlyMap<string, T> = new Map()
    for (const items of this.#byAddress.values()) if (items.size > most.size) most = items
    // The first of a map is the oldest.
    return most.values().next().value
  }

  *all(): Generator<T> {
    for (const items of [...this.#byAddress.values()]) yield* [...items.values()]
  }
}
