import type { Clock, Env, Log, Random, Timers } from '#src/core/env.ts'

/** Seeded numbers from 0 to 1 (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

interface Due {
  readonly at: number
  readonly order: number
  readonly callback: () => void
  cancelled: boolean
}

/** Time that jumps to the next timer as soon as nothing else can run. */
export class VirtualEnv implements Env {
  nowMs = 1000
  readonly logged: { readonly level: string; readonly message: string; readonly fields: unknown }[] = []
  readonly clock: Clock = { now: () => this.nowMs, wall: () => BigInt(Math.round(this.nowMs * 1e6)) }
  readonly timers: Timers = {
    after: (ms, callback) => {
      const due = this.#add(ms, callback)
      return { cancel: () => void (due.cancelled = true) }
    },
    soon: callback => void this.#add(0, callback),
    sleep: ms => new Promise(resolve => void this.#add(ms, resolve)),
  }
  readonly random: Random = { bytes: count => Buffer.alloc(count, 7), below: () => 0 }
  readonly log: Log
  #due: Due[] = []
  #order = 0

  constructor() {
    const at = (level: string) => (message: string, fields?: unknown) =>
      void this.logged.push({ level, message, fields })
    const log: Log = {
      debug: at('debug'),
      info: at('info'),
      warn: at('warn'),
      error: at('error'),
      child: () => log,
    }
    this.log = log
  }

  /** Runs timers until the promise settles; fails when nothing is left that could settle it. */
  async run<T>(value: T | Promise<T>, maxTimers = 1_000_000): Promise<T> {
    const promise = Promise.resolve(value)
    const state = { settled: false }
    const watched = promise.finally(() => (state.settled = true))
    watched.catch(() => undefined)
    for (let i = 0; ; i++) {
      await new Promise(resolve => setImmediate(resolve))
      if (state.settled) return await watched
      if (i > maxTimers) throw new Error('virtual time runs on without end')
      if (!this.#step()) throw new Error('deadlock: nothing is left to run')
    }
  }

  /** Lets time pass. */
  async pass(ms: number): Promise<void> {
    await this.run(this.timers.sleep(ms))
  }

  #add(ms: number, callback: () => void): Due {
    const due: Due = { at: this.nowMs + Math.max(0, ms), order: this.#order++, callback, cancelled: false }
    let low = 0
    let high = this.#due.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const other = this.#due[middle]
      if (other !== undefined && (other.at < due.at || (other.at === due.at && other.order < due.order)))
        low = middle + 1
      else high = middle
    }
    this.#due.splice(low, 0, due)
    return due
  }

  #step(): boolean {
    for (let next = this.#due.shift(); next !== undefined; next = this.#due.shift()) {
      if (next.cancelled) continue
      this.nowMs = Math.max(this.nowMs, next.at)
      next.callback()
      return true
    }
    return false
  }
}
