import { bytes, duration } from './output.ts'
import { columns } from './terminal.ts'

/** Not more often: a terminal is slow. */
const everyMs = 200
const barWidth = 20

/** How far long work is, on standard error and only on a terminal: standard output is for the result. */
export class Progress {
  readonly #what: string
  readonly #total: number
  readonly #beganMs: number
  readonly #now: () => number
  #shownMs = 0

  constructor(what: string, totalBytes: number, now: () => number = () => performance.now()) {
    this.#what = what
    this.#total = totalBytes
    this.#now = now
    this.#beganMs = now()
  }

  /** So many bytes are done. */
  show(done: number): void {
    if (!process.stderr.isTTY || this.#now() - this.#shownMs < everyMs) return
    this.#shownMs = this.#now()
    process.stderr.write(`\r\u001b[K${this.line(done).slice(0, (columns() ?? 80) - 1)}`)
  }

  line(done: number): string {
    const seconds = (this.#now() - this.#beganMs) / 1000
    const share = this.#total === 0 ? 1 : Math.min(1, done / this.#total)
    const perSecond = seconds === 0 ? 0 : done / seconds
    const filled = Math.round(share * barWidth)
    const bar = '█'.repeat(filled) + '░'.repeat(barWidth - filled)
    const left = perSecond === 0 ? '' : `, ${duration(((this.#total - done) / perSecond) * 1000)} to go`
    return `${this.#what} ${bar} ${(share * 100).toFixed(0)} %, ${bytes(perSecond)}/s${left}`
  }

  /** Leaves nothing behind. */
  end(): void {
    if (process.stderr.isTTY) process.stderr.write('\r\u001b[K')
  }
}
