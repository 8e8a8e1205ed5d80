import type { Clock, Env, Log, Random, Timer, Timers } from '#src/core/env.ts'

interface Due {
  readonly at: number
  readonly callback: () => void
  cancelled: boolean
}

/** Lets everything that is ready run: promises, and what was scheduled for soon. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise(resolve => setImmediate(resolve))
}

/** Time that stands still until the test moves it. */
export class ManualEnv implements Env {
  readonly clock: Clock = { now: () => this.nowMs, wall: () => BigInt(Math.round(this.nowMs * 1e6)) }
  readonly timers: Timers = {
    after: (ms, callback) => this.#after(ms, callback),
    soon: callback => void setImmediate(callback),
    sleep: ms => new Promise(resolve => this.#after(ms, resolve)),
  }
  readonly random: Random = { bytes: count => Buffer.alloc(count, 7), below: () => 0 }
  readonly logged: { level: string; message: string; fields: unknown }[] = []
  readonly log: Log = this.#logger()
  nowMs = 1000
  #due: Due[] = []

  /** Moves time, running each timer when its time has come. */
  async advance(ms: number): Promise<void> {
    const until = this.nowMs + ms
    await settle()
    for (;;) {
      const next = this.#due
        .filter(due => !due.cancelled && due.at <= until)
        .sort((a, b) => a.at - b.at)
        .at(0)
      if (next === undefined) break
      this.nowMs = Math.max(this.nowMs, next.at)
      this.#due = this.#due.filter(due => due !== next)
      next.callback()
      await settle()
    }
    this.nowMs = until
  }

  #after(ms: number, callback: () => void): Timer {
    const due = { at: this.nowMs + ms, callback, cancelled: false }
    this.#due.push(due)
    return {
      cancel: () => {
        due.cancelled = true
      },
    }
  }

  #logger(): Log {
    const at = (level: string) => (message: string, fields?: unknown) =>
      void this.logged.push({ level, message, fields })
    const log: Log = {
      debug: at('debug'),
      info: at('info'),
      warn: at('warn'),
      error: at('error'),
      child: () => log,
    }
    return log
  }
}
