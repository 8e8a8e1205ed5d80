/** One at a time per key, in the order of asking. */
export class KeyedMutex<K> {
  readonly #last = new Map<K, Promise<void>>()

  /** Resolves when nobody holds or waits for any key. */
  async idle(): Promise<void> {
    while (this.#last.size > 0) await Promise.all(this.#last.values())
  }

  async run<T>(key: K, task: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key)
    const { promise, release } = signal()
    this.#last.set(key, promise)
    try {
      await before
      return await task()
    } finally {
      release()
      if (this.#last.get(key) === promise) this.#last.delete(key)
    }
  }
}

function signal(): { promise: Promise<void>; release: () => void } {
  let release = (): void => undefined
  const promise = new Promise<void>(resolve => {
    release = resolve
  })
  return { promise, release }
}
