import type { Timer, Timers } from '../core/env.ts'

/** Node turns longer delays into 1 ms. */
const delayMaxMs = 2 ** 31 - 1

/**
 * Node's timers. They keep the process alive, so that a wait in a command is not cut off in silence;
 * daemons do not end by running out of timers but by runDaemon.
 */
export class RealTimers implements Timers {
  after(ms: number, callback: () => void): Timer {
    return new LongTimeout(ms, callback)
  }

  /**
   * setImmediate rather than nextTick: it gathers what all events of one turn of the loop produce (several
   * sockets, the device, worker threads), not only one of them, and costs an idle loop a few microseconds.
   */
  soon(callback: () => void): void {
    setImmediate(callback)
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason as Error)
        return
      }
      const aborted = (): void => {
        timer.cancel()
        reject(signal?.reason as Error)
      }
      const timer = this.after(ms, () => {
        signal?.removeEventListener('abort', aborted)
        resolve()
      })
      signal?.addEventListener('abort', aborted, { once: true })
    })
  }
}

class LongTimeout implements Timer {
  #timeout: NodeJS.Timeout

  constructor(ms: number, callback: () => void) {
    this.#timeout = this.#arm(ms, callback)
  }

  cancel(): void {
    clearTimeout(this.#timeout)
  }

  #arm(ms: number, callback: () => void): NodeJS.Timeout {
    if (ms <= delayMaxMs) return setTimeout(callback, Math.max(0, ms))
    return setTimeout(() => {
      this.#timeout = this.#arm(ms - delayMaxMs, callback)
    }, delayMaxMs)
  }
}
