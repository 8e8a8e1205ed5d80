import type { Happening } from './checker.ts'

interface Entry<Op> {
  readonly id: number
  readonly op: Op
  readonly called: number
  readonly answered: number
  /** Answered, or never known whether it happened. */
  readonly known: boolean
}

/**
 * What happened, in the order of happening. An operation is added when its outcome is known, with the
 * moments of its call and its answer; of an operation that nobody was answered the end is the moment after
 * which it cannot happen any more.
 */
export class History<Op> {
  readonly #entries: Entry<Op>[] = []
  readonly #moments: { readonly at: number; readonly op: Op }[] = []
  #ids = 0

  get size(): number {
    return this.#entries.length
  }

  newId(): number {
    return ++this.#ids
  }

  /** `known`: it has happened by then; else perhaps, and if so before `answered`. */
  add(op: Op, called: number, answered: number, known: boolean): void {
    this.#entries.push({ id: this.newId(), op, called, answered, known })
  }

  moment(op: Op, at: number): void {
    this.#moments.push({ at, op })
  }

  /** Ends before `until`: what is called later is left out, and what was under way need not have happened. */
  *happenings(until = Number.POSITIVE_INFINITY): Generator<Happening<Op>> {
    const events: { readonly at: number; readonly happening: Happening<Op> }[] = []
    for (const { id, op, called, answered, known } of this.#entries) {
      if (called >= until) continue
      events.push({ at: called, happening: { kind: 'call', id, op } })
      if (answered < until) events.push({ at: answered, happening: { kind: known ? 'answer' : 'end', id } })
    }
    for (const { at, op } of this.#moments)
      if (at < until) events.push({ at, happening: { kind: 'moment', op } })
    events.sort((a, b) => a.at - b.at)
    for (const { happening } of events) yield happening
  }
}

/** Moments of one run: each is later than all before it. */
export class Moments {
  #last = 0

  next(): number {
    return ++this.#last
  }

  get last(): number {
    return this.#last
  }
}
