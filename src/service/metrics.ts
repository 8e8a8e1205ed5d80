import { Gauge, Registry } from 'prom-client'
import { type OperationTime, timeBoundsMs } from '../core/operation-times.ts'

/** Label values by name; few distinct ones, since each combination is a series. */
export type Labels = Readonly<Record<string, string>>

export interface Sample {
  readonly labels?: Labels
  readonly value: number
}

export interface MetricOptions {
  /** With unit as its end: `cairn_put_bytes_total`, `cairn_commit_seconds`. */
  readonly name: string
  readonly help: string
}

/**
 * What a process shows to Prometheus. Nothing is counted here: whoever does something counts it in plain
 * numbers, which are asked for when the metrics are read.
 */
export class Metrics {
  readonly #registry = new Registry()
  readonly #refreshers: (() => Promise<void>)[] = []

  /** Runs before the metrics are read: fetches what several of them are made of. */
  beforeRead(refresh: () => Promise<void>): void {
    this.#refreshers.push(refresh)
  }

  /** A value that goes up and down. */
  gauge({ name, help }: MetricOptions, read: () => number): void {
    this.gauges({ name, help }, () => [{ value: read() }])
  }

  /** One value for each combination of labels. */
  gauges({ name, help }: MetricOptions, read: () => Iterable<Sample>): void {
    this.#register(name, help, 'gauge', () =>
      Array.from(read(), ({ labels = {}, value }) => ({ labels, value })),
    )
  }

  /** A value that only grows, from 0 at the start of the process. Its name ends with _total. */
  counter({ name, help }: MetricOptions, read: () => number): void {
    this.#register(name, help, 'counter', () => [{ labels: {}, value: read() }])
  }

  /** `NAME_seconds` by operation, and `NAME_errors_total` by operation and errno. */
  operations({ name, help }: MetricOptions, read: () => readonly OperationTime[]): void {
    this.#register(`${name}_seconds`, help, 'histogram', () =>
      read().flatMap(row => buckets(`${name}_seconds`, row)),
    )
    this.#register(`${name}_errors_total`, `${help} Those that failed, by errno.`, 'counter', () =>
      read().flatMap(({ operation, failures }) =>
        failures.map(([error, value]) => ({ labels: { operation, error }, value })),
      ),
    )
  }

  /** In Prometheus' text format. Rejects if a part of the process does not answer. */
  async text(): Promise<string> {
    for (const refresh of this.#refreshers) await refresh()
    return this.#registry.metrics()
  }

  #register(name: string, help: string, type: string, read: () => readonly Value[]): void {
    this.#registry.registerMetric(new ReadMetric(name, help, type, read))
  }
}

interface Value {
  readonly metricName?: string
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
}

/** What prom-client's registry takes for a metric, with values that are asked for. */
class ReadMetric extends Gauge {
  readonly #type: string
  readonly #read: () => readonly Value[]

  constructor(name: string, help: string, type: string, read: () => readonly Value[]) {
    super({ name, help, registers: [] })
    this.#type = type
    this.#read = read
  }

  override async get(): Promise<never> {
    const { name, help } = this as unknown as MetricOptions
    return { name, help, type: this.#type, values: this.#read(), aggregator: 'sum' } as never
  }
}

function buckets(name: string, { operation, counts, sumMs }: OperationTime): Value[] {
  const values: Value[] = []
  let count = 0
  for (const [at, here] of counts.entries()) {
    count += here
    const bound = timeBoundsMs[at]
    const le = bound === undefined ? '+Inf' : Number((bound / 1000).toPrecision(6))
    values.push({ metricName: `${name}_bucket`, labels: { le, operation }, value: count })
  }
  values.push({ metricName: `${name}_sum`, labels: { operation }, value: sumMs / 1000 })
  values.push({ metricName: `${name}_count`, labels: { operation }, value: count })
  return values
}
