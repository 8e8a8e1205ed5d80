type Mode = 'shared' | 'exclusive'

interface Claim {
  readonly mode: Mode
  readonly who: string
  readonly granted: () => void
}

/** A lock of the kernel, first come first served, as its semaphores are: a waiting writer holds back readers. */
export class RwLock {
  readonly name: string
  readonly #holders = new Set<Claim>()
  readonly #waiting: Claim[] = []

  constructor(name: string) {
    this.name = name
  }

  get free(): boolean {
    return this.#holders.size === 0 && this.#waiting.length === 0
  }

  /** Takes it; the result gives it back. */
  async take(mode: Mode, who: string): Promise<() => void> {
    const claim = await new Promise<Claim>(resolve => {
      const made: Claim = { mode, who, granted: () => resolve(made) }
      this.#waiting.push(made)
      this.#admit()
    })
    return () => {
      this.#holders.delete(claim)
      this.#admit()
    }
  }

  async run<T>(mode: Mode, who: string, work: () => T | Promise<T>): Promise<T> {
    const release = await this.take(mode, who)
    try {
      return await work()
    } finally {
      release()
    }
  }

  /** Who holds it and who waits, for a report of what does not go on. */
  describe(): string | undefined {
    if (this.#waiting.length === 0) return undefined
    const names = (claims: Iterable<Claim>) => [...claims].map(({ who }) => who).join(', ')
    return `${this.name}: held by ${names(this.#holders)}; waiting: ${names(this.#waiting)}`
  }

  #admit(): void {
    for (;;) {
      const first = this.#waiting[0]
      if (first === undefined) return
      const fits =
        this.#holders.size === 0 ||
        (first.mode === 'shared' && [...this.#holders].every(({ mode }) => mode === 'shared'))
      if (!fits) return
      this.#waiting.shift()
      this.#holders.add(first)
      first.granted()
    }
  }
}
