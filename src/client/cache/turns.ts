/**
 * One after the other: what changes one inode's contents. Work that can be done at once, with nobody
 * ahead, is done at once and costs no promise.
 */
export class Turns {
  #tail: Promise<void> | undefined

  get idle(): boolean {
    return this.#tail === undefined
  }

  run<T>(work: () => T | Promise<T>): T | Promise<T> {
    if (this.#tail !== undefined) return this.#queue(this.#tail.then(work))
    const result = work()
    return result instanceof Promise ? this.#queue(result) : result
  }

  #queue<T>(running: Promise<T>): Promise<T> {
    const tail = running.then(
      () => undefined,
      () => undefined,
    )
    this.#tail = tail
    void tail.then(() => {
      if (this.#tail === tail) this.#tail = undefined
    })
    return running
  }
}
