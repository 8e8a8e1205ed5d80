/**
 * Has the whole database of a master at work read when it starts and then once a day, beside it: every invariant
 * (fsck), and what has not changed since earlier copies (compareWithCopy).
 *
 *   unread ──► read: nothing found  (removal may begin)
 *          └─► read: a problem that the reading before did not find: unread, read again in a minute
 *          └─► read: a problem again (cairn health says so; no block is removed), read again soon
 *          └─► cannot be read: tried again in a minute (unread stays unread)
 *
 * One reading is not believed, since what takes several steps may be in the middle: a session ends in one step, and what it
 * held open without a name goes in later ones. A difference from a copy is.
 */
import type { Env, Timer } from '../../core/env.ts'
import { messageOf } from '../../core/errors.ts'
import { hour, minute, second } from '../../core/units.ts'
import { type Integrity, uncheckedIntegrity } from './integrity.ts'

/** What one reading found. */
export interface Checked {
  /** What contradicts itself: findings of fsck. */
  readonly problems: readonly string[]
  readonly differences: readonly string[]
  /** Copies that it could not be compared with, and why. */
  readonly unreadable: readonly string[]
  /** Some of the differences are of blocks: by these live data may look like what nobody needs. */
  readonly blocksDiffer: boolean
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
/** While there are problems: they may have been put right. */
const problemsMs = 10 * minute
/** Lines that are told of each kind; `cairn fsck` has them all. */
const linesMax = 5

export class DatabaseChecks {
  readonly #env: Env
  readonly #options: DatabaseChecksOptions
  #integrity = uncheckedIntegrity
  /** What the last reading's problems are of. */
  #subjects = new Set<string>()
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
      const checked = await this.#options.check()
      if (this.#closed) return
      this.#found(checked)
    } catch (thrown) {
      if (this.#closed) return
      const failing = messageOf(thrown)
      this.#env.log.warn('The database could not be checked', { why: failing })
      this.#integrity = { ...this.#integrity, failing }
      this.#in(againMs)
    }
    this.#options.changed(this.#integrity)
  }

  #found({ problems: all, differences, unreadable, blocksDiffer }: Checked): void {
    const { log } = this.#env
    const before = this.#subjects
    this.#subjects = new Set(all.map(subjectOf))
    const problems = all.filter(line => before.has(subjectOf(line)))
    const doubtful = problems.length === 0 && all.length > 0
    if (problems.length > 0) log.error('The database has problems: see cairn fsck', { problems })
    if (doubtful) log.warn('The database may have problems, and is read again', { problems: all })
    if (differences.length > 0)
      log.error('The database is not what it was in an earlier copy', { differences })
    if (unreadable.length > 0) log.warn('Copies of the database cannot be read', { copies: unreadable })
    if (all.length + differences.length === 0) log.info('The database was checked')
    this.#integrity = {
      checked: !doubtful,
      problems: problems.slice(0, linesMax),
      differences: differences.slice(0, linesMax),
      unreadable: unreadable.slice(0, linesMax),
      endangered: problems.length > 0 || blocksDiffer,
      failing: '',
    }
    this.#in(doubtful ? againMs : problems.length > 0 ? problemsMs : everyMs)
  }
}

/** What a line is about, which is the same in the next reading although the counts in it are others. */
function subjectOf(line: string): string {
  return /^[A-Z][a-z]+ \d+\b/.exec(line)?.[0] ?? line.replace(/\d+/g, '#')
}
