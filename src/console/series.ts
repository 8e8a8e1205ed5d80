/** The newest so many samples of several values, each with its time: what a plot shows. */
export class Series<Name extends string> {
  readonly #names: readonly Name[]
  readonly #max: number
  #times: number[] = []
  #values: Record<Name, (number | null)[]>

  constructor(names: readonly Name[], max: number) {
    this.#names = names
    this.#max = max
    this.#values = this.#empty()
  }

  get length(): number {
    return this.#times.length
  }

  /** `atMs` by the wall clock; null: not known. Times rise: after a clock was set back, what is newer goes. */
  add(atMs: number, sample: Readonly<Record<Name, number | null>>): void {
    while ((this.#times.at(-1) ?? Number.NEGATIVE_INFINITY) >= atMs) {
      this.#times.pop()
      for (const name of this.#names) this.#values[name].pop()
    }
    this.#times.push(atMs)
    for (const name of this.#names) this.#values[name].push(sample[name])
    if (this.#times.length <= this.#max) return
    this.#times.shift()
    for (const name of this.#names) this.#values[name].shift()
  }

  /** Those after a time. */
  after(ms: number): { readonly times: number[] } & Readonly<Record<Name, (number | null)[]>> {
    const from = this.#times.findIndex(time => time > ms)
    const start = from === -1 ? this.#times.length : from
    const values = this.#empty()
    for (const name of this.#names) values[name] = this.#values[name].slice(start)
    return { times: this.#times.slice(start), ...values }
  }

  #empty(): Record<Name, (number | null)[]> {
    return Object.fromEntries(this.#names.map(name => [name, []])) as unknown as Record<
      Name,
      (number | null)[]
    >
  }
}
