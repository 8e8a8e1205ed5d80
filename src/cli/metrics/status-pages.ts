import { UsageError } from '../../core/errors.ts'
import { Metrics } from '../../service/metrics.ts'
import { measureProcess } from '../../service/process-metrics.ts'
import type { StatusPages as Pages } from '../../web/status-server.ts'

/** What of a daemon is shown. */
export interface Shown {
  readonly measure: (metrics: Metrics) => void
  readonly alive: () => Promise<void>
  readonly unready: () => string | undefined
}

/** The pages of a daemon, also while it starts. */
export class StatusPages implements Pages {
  readonly #metrics = new Metrics()
  #shown: Shown | undefined
  #process: { readonly stop: () => void } | undefined

  /** The daemon is up. */
  show(daemon: Shown): void {
    this.#process = measureProcess(this.#metrics)
    daemon.measure(this.#metrics)
    this.#shown = daemon
  }

  stop(): void {
    this.#process?.stop()
  }

  readonly metrics = async (): Promise<string> => {
    if (this.#shown === undefined) throw new UsageError('starting')
    return this.#metrics.text()
  }

  /** Also while it starts: reading a large database takes its time. */
  readonly alive = async (): Promise<void> => this.#shown?.alive()

  readonly unready = (): string | undefined =>
    this.#shown === undefined ? 'starting' : this.#shown.unready()
}
