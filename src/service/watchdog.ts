import type { Log } from '../core/env.ts'
import { messageOf } from '../core/errors.ts'
import { tellSystemd } from './notify-systemd.ts'

/** Pings so many times within what systemd waits for. */
const pingsPerPeriod = 3

/**
 * Pings systemd's watchdog (WatchdogSec= of the unit) as long as the daemon answers a question of its own, for
 * which its event loop and its threads must be at work. Without an answer there is no ping, and systemd starts
 * the daemon again.
 */
export class Watchdog {
  readonly #alive: () => Promise<void>
  readonly #log: Log
  #timer: NodeJS.Timeout | undefined
  #asking = false

  /** Does nothing where no watchdog is asked for. */
  static start(alive: () => Promise<void>, log: Log, env: NodeJS.ProcessEnv = process.env): Watchdog {
    const watchdog = new Watchdog(alive, log)
    const micros = Number(env['WATCHDOG_USEC'])
    const pid = env['WATCHDOG_PID']
    if (micros > 0 && (pid === undefined || Number(pid) === process.pid)) watchdog.#start(micros / 1000)
    return watchdog
  }

  private constructor(alive: () => Promise<void>, log: Log) {
    this.#alive = alive
    this.#log = log
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #start(periodMs: number): void {
    this.#timer = setInterval(() => void this.#ping(), periodMs / pingsPerPeriod)
    this.#timer.unref()
  }

  async #ping(): Promise<void> {
    // The last question has no answer yet: asking again would not help.
    if (this.#asking) return
    this.#asking = true
    try {
      await this.#alive()
      await tellSystemd(['WATCHDOG=1'], this.#log)
    } catch (error) {
      this.#log.warn('No ping for systemd: the daemon does not answer itself', { why: messageOf(error) })
    } finally {
      this.#asking = false
    }
  }
}
