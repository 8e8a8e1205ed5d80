/**
 * Has the whole database of a master at work read when it starts and then once a day, beside it: every invariant
 * (fsck), and what has not changed since earlier copies (compareWithCopy).
 *
 *   unread ──► read: nothing found  (removal may begin)
 *          └─► read: something found (cairn health says so; no block is removed)
 *          └─► cannot be read: tried again in a minute (unread stays unread)
 */
import type { Env, Timer } from '../../core/env.ts'
import { messageOf } from '../../core/errors.ts'
import { hour, minute, second } from '../../core/units.ts'
import { type Integrity, uncheckedIntegrity } from './integrity.ts'

/** What one reading found. */
export interface Checked {
  readonly problems: readonly string[]
  readonly differences: readonly string[]
  /** Copies that it could not be compared with, and why. */
  readonly unreadable: readonly string[]
  readonly endangered: boolean
}

export interface DatabaseChecksOptions {
  /** Reads it, elsewhere. */
  readonly check: () => Promise<Checked>
  /** Hears of every change. */
  readonly changed: (integrity: Integrity) => void
}

/** After a start, which it does not slow down; nothing is removed so early. */
const firstMs = 2 * second
const everyMs = 24 * hour
const againMs = 1 * minute
/** Lines that are told of each kind; `cairn fsck` has them all. */
const linesMax = 5

export class DatabaseChecks {
  readonly #env: Env
  readonly #options: DatabaseChecksOptions
  #integrity = uncheckedIntegrity
  #timer: Timer | undefined
  #closed = false

  constructor(env: Env, options: DatabaseChecksOptions) {
    this.#env = env
    this.#options = options
    this.#in(firstMs)
  }

  get integrity(): Integrity {
    return this.#integrity
  }

  /** One that is under way ends with the process. */
  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  #in(ms: number): void {
    if (!this.#closed) this.#timer = this.#env.timers.after(ms, () => void this.#check())
  }

  async #check(): Promise<void> {
    try {
      const { problems, differences, unreadable, endangered } = await this.#options.check()
      if (this.#closed) return
      if (problems.length > 0) this.#env.log.error('The database has problems: see cairn fsck', { problems })
      if (differences.length > 0)
        this.#env.log.error('The database is not what it was in an earlier copy', { differences })
      if (unreadable.length > 0)
        this.#env.log.warn('Copies of the database cannot be read', { copies: unreadable })
      if (problems.length + differences.length === 0) this.#env.log.info('The database was checked')
      this.#integrity = {
        checked: true,
        problems: problems.slice(0, linesMax),
        differences: differences.slice(0, linesMax),
        unreadable: unreadable.slice(0, linesMax),
        endangered,
        failing: '',
      }
      this.#in(everyMs)
    } catch (thrown) {
      if (this.#closed) return
      const failing = messageOf(thrown)
      this.#env.log.warn('The database could not be checked', { why: failing })
      this.#integrity = { ...this.#integrity, failing }
      this.#in(againMs)
    }
    this.#options.changed(this.#integrity)
  }
}
