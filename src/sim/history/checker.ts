/**
 * Whether a history of overlapping operations can be explained by one order in which each took effect at
 * once, some time between its call and its answer (Herlihy and Wing, "Linearizability", 1990). The search is
 * that of Wing and Gong ("Testing and verifying concurrent objects", 1993) as G. Lowe improved it ("Testing
 * for linearizability", 2017): just in time, so that an operation is put in order only when an answer needs
 * it, with the configurations that were seen remembered. What makes it cheap here: an observation is put in
 * order as soon as its answer fits. It may be, since whatever comes after it would come without it.
 *
 * Objects that no operation shares are checked each for itself (Herlihy and Wing's locality); that is the
 * caller's matter.
 */

/** The object as it would be if everything happened one after the other. States are never changed in place. */
export interface Model<State, Op> {
  readonly start: State
  /** Equal for equal states, and for no others. */
  key(state: State): string
  /**
   * The states in which the operation may leave the object, none if its answer is wrong there. An operation
   * without a known answer fits wherever it could have succeeded.
   */
  apply(state: State, op: Op): readonly State[]
  /**
   * It changes nothing, wherever it is put: at most it rules out some of what is uncertain. Where it does not
   * even that, `apply` gives back the very same state.
   */
  observes(op: Op): boolean
  describe(op: Op): string
  describeState(state: State): string
}

export type Happening<Op> =
  | { readonly kind: 'call'; readonly id: number; readonly op: Op }
  /** It has taken effect. */
  | { readonly kind: 'answer'; readonly id: number }
  /** It has taken effect or never will: nobody was answered. */
  | { readonly kind: 'end'; readonly id: number }
  /** Something that happens at this very moment. */
  | { readonly kind: 'moment'; readonly op: Op }

export type Verdict =
  | { readonly kind: 'fine'; readonly configurations: number }
  | { readonly kind: 'wrong'; readonly why: string }
  /** Too many orders are possible. */
  | { readonly kind: 'undecided'; readonly configurations: number }

interface Configuration<State> {
  readonly state: State
  /** Operations that have taken effect and are not answered, in order of their ids. */
  readonly done: readonly number[]
}

/** Looks at no more configurations than `most`. */
export function check<State, Op>(
  model: Model<State, Op>,
  history: Iterable<Happening<Op>>,
  most = 200_000,
): Verdict {
  const search = new Search(model, most)
  for (const happening of history) {
    const wrong = search.next(happening)
    if (wrong !== undefined) return { kind: 'wrong', why: wrong }
    if (search.looked > most) return { kind: 'undecided', configurations: search.looked }
  }
  return { kind: 'fine', configurations: search.looked }
}

class Search<State, Op> {
  readonly #model: Model<State, Op>
  readonly #most: number
  /** Called and not answered. */
  readonly #pending = new Map<number, Op>()
  #configurations: Map<string, Configuration<State>>
  looked = 0

  constructor(model: Model<State, Op>, most: number) {
    this.#model = model
    this.#most = most
    const start = { state: model.start, done: [] }
    this.#configurations = new Map([[this.#key(start), start]])
  }

  /** A line if nothing explains what has happened. */
  next(happening: Happening<Op>): string | undefined {
    switch (happening.kind) {
      case 'call':
        this.#pending.set(happening.id, happening.op)
        return undefined
      case 'answer':
        return this.#answer(happening.id)
      case 'end':
        this.#end(happening.id)
        return undefined
      case 'moment':
        return this.#moment(happening.op)
    }
  }

  /** Of all that may have happened, what has the operation done by now. */
  #answer(id: number): string | undefined {
    const before = [...this.#configurations.values()]
    const after = new Map<string, Configuration<State>>()
    this.#explore(configuration => {
      if (!configuration.done.includes(id)) return true
      this.#keep(after, without(configuration, id))
      // What else is under way need not have happened yet.
      return false
    })
    if (after.size === 0 && this.looked <= this.#most) return this.#explain(id, before)
    this.#pending.delete(id)
    this.#configurations = after
    return undefined
  }

  /** It has happened by now, or it has not and will not. */
  #end(id: number): void {
    const after = new Map<string, Configuration<State>>()
    for (const configuration of this.#configurations.values()) this.#keep(after, without(configuration, id))
    this.#explore(configuration => {
      if (!configuration.done.includes(id)) return true
      this.#keep(after, without(configuration, id))
      return false
    })
    this.#pending.delete(id)
    this.#configurations = after
  }

  /** What is under way may have happened before it. */
  #moment(op: Op): string | undefined {
    const after = new Map<string, Configuration<State>>()
    this.#explore(({ state, done }) => {
      for (const next of this.#model.apply(state, op)) this.#keep(after, { state: next, done })
      return true
    })
    if (after.size === 0 && this.looked <= this.#most) return `${this.#model.describe(op)} cannot happen`
    this.#configurations = after
    return undefined
  }

  /** Visits what may be by now, each once. `visit`: whether more of what is under way is to happen after it. */
  #explore(visit: (configuration: Configuration<State>) => boolean): void {
    const seen = new Set<string>()
    const stack = [...this.#configurations.values()].map(configuration => this.#eager(configuration))
    for (let next = stack.pop(); next !== undefined && this.looked <= this.#most; next = stack.pop()) {
      const key = this.#key(next)
      if (seen.has(key)) continue
      seen.add(key)
      this.looked += 1
      if (!visit(next)) continue
      const { state, done } = next
      for (const [id, op] of this.#pending)
        if (!done.includes(id))
          for (const changed of this.#model.apply(state, op))
            stack.push(this.#eager({ state: changed, done: withId(done, id) }))
    }
  }

  /** With every observation put in order that fits. */
  #eager(configuration: Configuration<State>): Configuration<State> {
    const { state } = configuration
    let { done } = configuration
    for (const [id, op] of this.#pending) {
      if (done.includes(id) || !this.#model.observes(op)) continue
      const states = this.#model.apply(state, op)
      if (states.length === 1 && states[0] === state) done = withId(done, id)
    }
    return done === configuration.done ? configuration : { state, done }
  }

  #keep(into: Map<string, Configuration<State>>, configuration: Configuration<State>): void {
    const key = this.#key(configuration)
    if (!into.has(key)) into.set(key, configuration)
  }

  #key({ state, done }: Configuration<State>): string {
    return `${this.#model.key(state)}#${done.join()}`
  }

  #explain(id: number, before: readonly Configuration<State>[]): string {
    const name = (other: number) => {
      const op = this.#pending.get(other)
      return op === undefined ? `#${other}` : this.#model.describe(op)
    }
    const possible = before
      .slice(0, 3)
      .map(
        ({ state, done }) =>
          `${this.#model.describeState(state)}${done.length === 0 ? '' : ` after ${done.map(name).join(', ')}`}`,
      )
    const others = [...this.#pending.keys()].filter(other => other !== id).map(name)
    return `${name(id)} fits nowhere; possible: ${possible.join(' or ')}${before.length > 3 ? ` and ${before.length - 3} more` : ''}${others.length === 0 ? '' : `; under way: ${others.join(', ')}`}`
  }
}

function without<State>(configuration: Configuration<State>, id: number): Configuration<State> {
  if (!configuration.done.includes(id)) return configuration
  return { state: configuration.state, done: configuration.done.filter(other => other !== id) }
}

function withId(done: readonly number[], id: number): readonly number[] {
  return [...done, id].sort((a, b) => a - b)
}
