import { FsError } from '../core/errors.ts'
import type { Timers } from '../core/env.ts'

/** A promise and its settling functions. */
export interface Deferred<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
  readonly reject: (reason: unknown) => void
}

export function deferred<T>(): Deferred<T> {
  let resolve: (value: T) => void = () => undefined
  let reject: (reason: unknown) => void = () => undefined
  const promise = new Promise<T>((ok, failed) => {
    resolve = ok
    reject = failed
  })
  return { promise, resolve, reject }
}

/** Who waits, and may be called back. */
export interface Interruptible {
  /** Made on first use, so only asked for by what waits. */
  readonly signal: AbortSignal
}

/** Lets other work of the process run: for long computations in slices. */
export function nextTurn(timers: Timers): Promise<void> {
  return new Promise(resolve => timers.soon(resolve))
}

/** Rejects with EINTR as soon as the signal aborts; what was waited for goes on. */
export async function interruptible<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await promise
  if (signal.aborted) {
    // Nobody hears of its error.
    promise.catch(() => undefined)
    throw new FsError('EINTR')
  }
  const stop = deferred<never>()
  const onAbort = (): void => stop.reject(new FsError('EINTR'))
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([promise, stop.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** Rejects with ETIMEDOUT when the promise has not settled after `ms`; what was waited for goes on. */
export async function within<T>(timers: Timers, ms: number, promise: Promise<T>, what: string): Promise<T> {
  const late = deferred<never>()
  const timer = timers.after(ms, () => late.reject(new FsError('ETIMEDOUT', what)))
  try {
    return await Promise.race([promise, late.promise])
  } finally {
    timer.cancel()
  }
}

/** Admits up to `capacity` units at once, in order of arrival. One that is larger than that runs alone. */
export class Gate {
  readonly #capacity: number
  readonly #waiting: { readonly units: number; readonly admit: () => void }[] = []
  #used = 0

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  /** Whether there was room, and nobody to be waited for. */
  enterNow(units: number): boolean {
    if (this.#waiting.length > 0 || !this.#fits(units)) return false
    this.#used += units
    return true
  }

  async enter(units: number): Promise<void> {
    if (this.enterNow(units)) return
    await new Promise<void>(admit => this.#waiting.push({ units, admit }))
  }

  leave(units: number): void {
    this.#used -= units
    for (let next = this.#waiting[0]; next !== undefined && this.#fits(next.units); next = this.#waiting[0]) {
      this.#used += next.units
      this.#waiting.shift()
      next.admit()
    }
  }

  #fits(units: number): boolean {
    return this.#used === 0 || this.#used + units <= this.#capacity
  }
}
