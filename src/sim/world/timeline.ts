import { assert } from '../../core/assert.ts'

/** More events than this without a step of time are a loop. */
const eventsPerInstant = 200_000

interface Event {
  readonly at: number
  readonly order: number
  readonly run: () => void
  cancelled: boolean
}

/**
 * Virtual time: a queue of events by (time, order of scheduling). Between two events every promise that
 * can go on has gone on, so a run depends on nothing but its seed.
 */
export class Timeline {
  readonly #heap: Event[] = []
  readonly #settle: () => Promise<void>
  #order = 0
  #now = 0
  #ran = 0
  #ranThisInstant = 0

  /** `settle` resolves when all pending microtasks have run (a macrotask of the host). */
  constructor(settle: () => Promise<void>) {
    this.#settle = settle
  }

  /** Milliseconds since the start of the run. */
  get now(): number {
    return this.#now
  }

  get eventsRun(): number {
    return this.#ran
  }

  /** Schedules; returns how to cancel. */
  at(time: number, run: () => void): () => void {
    assert(!Number.isNaN(time), 'a time is a number')
    if (time === Number.POSITIVE_INFINITY) return () => undefined
    const event: Event = { at: Math.max(time, this.#now), order: this.#order++, run, cancelled: false }
    this.#push(event)
    return () => {
      event.cancelled = true
    }
  }

  after(ms: number, run: () => void): () => void {
    return this.at(this.#now + ms, run)
  }

  /** Runs events until `done` says so, nothing is left, or `until` is reached; tells which. */
  async run(until: number, done: () => boolean): Promise<'done' | 'idle' | 'late'> {
    await this.#settle()
    for (;;) {
      if (done()) return 'done'
      const next = this.#heap[0]
      if (next === undefined) return 'idle'
      if (next.at > until) {
        this.#now = until
        return 'late'
      }
      this.#pop()
      if (next.cancelled) continue
      assert(next.at >= this.#now, 'time goes forward')
      this.#ranThisInstant = next.at > this.#now ? 0 : this.#ranThisInstant + 1
      assert(this.#ranThisInstant < eventsPerInstant, 'time goes on')
      this.#now = next.at
      this.#ran++
      next.run()
      await this.#settle()
    }
  }

  #push(event: Event): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(event)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!before(event, heap[parent] as Event)) break
      heap[at] = heap[parent] as Event
      at = parent
    }
    heap[at] = event
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop() as Event
    if (heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1] as Event, heap[child] as Event)) child++
      if (!before(heap[child] as Event, last)) break
      heap[at] = heap[child] as Event
      at = child
    }
    heap[at] = last
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}
