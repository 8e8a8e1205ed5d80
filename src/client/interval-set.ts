/** A half-open range of numbers: [from, to). */
export interface Range {
  readonly from: number
  readonly to: number
}

/** A set of numbers as sorted, disjoint, non-adjacent half-open ranges. Pure arithmetic. */
export class IntervalSet {
  /** from0, to0, from1, to1, …: strictly rising. */
  #edges: number[] = []

  get isEmpty(): boolean {
    return this.#edges.length === 0
  }

  get size(): number {
    let size = 0
    for (let i = 0; i < this.#edges.length; i += 2) size += this.#edge(i + 1) - this.#edge(i)
    return size
  }

  *ranges(): Generator<Range> {
    for (let i = 0; i < this.#edges.length; i += 2) yield { from: this.#edge(i), to: this.#edge(i + 1) }
  }

  add(from: number, to: number): void {
    if (from >= to) return
    this.#splice(from, to, true)
  }

  remove(from: number, to: number): void {
    if (from >= to) return
    this.#splice(from, to, false)
  }

  clear(): void {
    this.#edges = []
  }

  /** Whether all of [from, to) is in the set. An empty range is. */
  covers(from: number, to: number): boolean {
    if (from >= to) return true
    const i = this.#firstAbove(from)
    return i % 2 === 1 && this.#edge(i) >= to
  }

  /** The first maximal part of [from, to) that is not in the set. */
  firstGap(from: number, to: number): Range | undefined {
    if (from >= to) return undefined
    const i = this.#firstAbove(from)
    const start = i % 2 === 1 ? this.#edge(i) : from
    if (start >= to) return undefined
    const next = i % 2 === 1 ? i + 1 : i
    return { from: start, to: next < this.#edges.length ? Math.min(to, this.#edge(next)) : to }
  }

  #edge(index: number): number {
    return this.#edges[index] ?? Number.POSITIVE_INFINITY
  }

  /** Index of the first edge above `value`; odd when `value` is in the set. */
  #firstAbove(value: number): number {
    let low = 0
    let high = this.#edges.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#edge(middle) > value) high = middle
      else low = middle + 1
    }
    return low
  }

  #splice(from: number, to: number, member: boolean): void {
    // Edges in [from, to] go; adding merges with neighbours that touch.
    let low = this.#firstAbove(from)
    if (low > 0 && this.#edge(low - 1) === from) low--
    const high = this.#firstAbove(to)
    const before = low % 2 === 1
    const after = high % 2 === 1
    const edges: number[] = []
    if (before !== member) edges.push(from)
    if (after !== member) edges.push(to)
    this.#edges.splice(low, high - low, ...edges)
  }
}
