import { Counter, Gauge, Histogram, Registry } from 'prom-client'

/** Label values by name; few distinct ones, since each combination is a series. */
export type Labels = Readonly<Record<string, string>>

export interface Count {
  add(amount?: number, labels?: Labels): void
}

export interface Distribution {
  observe(value: number, labels?: Labels): void
}

export interface MetricOptions {
  /** With unit as its end: `cairn_put_bytes_total`, `cairn_commit_seconds`. */
  readonly name: string
  readonly help: string
  readonly labels?: readonly string[]
}

/** What a process counts, for Prometheus. One per process, handed to whoever counts. */
export class Metrics {
  readonly #registry = new Registry()

  counter({ name, help, labels = [] }: MetricOptions): Count {
    const counter = new Counter({ name, help, labelNames: labels, registers: [this.#registry] })
    return { add: (amount = 1, values = {}) => counter.inc(values, amount) }
  }

  /** Buckets are upper bounds in the metric's unit. */
  histogram(
    { name, help, labels = [] }: MetricOptions,
    buckets: readonly number[] = secondsBuckets,
  ): Distribution {
    const histogram = new Histogram({
      name,
      help,
      labelNames: labels,
      buckets: [...buckets],
      registers: [this.#registry],
    })
    return { observe: (value, values = {}) => histogram.observe(values, value) }
  }

  /** A value that is asked for when the metrics are read. */
  gauge({ name, help }: MetricOptions, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.#registry],
      collect() {
        this.set(read())
      },
    })
  }

  /** In Prometheus' text format. */
  text(): Promise<string> {
    return this.#registry.metrics()
  }
}

/** From a cached look-up to a disk that hangs. */
const secondsBuckets = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10]
