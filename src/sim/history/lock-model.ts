import type { Model } from './checker.ts'

export type LockOp =
  /** `taken`: whether it was free for it. Who waits is answered when it is. */
  | {
      readonly kind: 'lock'
      readonly owner: string
      readonly session: string
      readonly exclusive: boolean
      readonly taken: boolean
    }
  | { readonly kind: 'unlock'; readonly owner: string }
  /** The session ended, and its locks with it. */
  | { readonly kind: 'death'; readonly session: string }

interface Held {
  readonly owner: string
  readonly session: string
  readonly exclusive: boolean
}

type Locks = readonly Held[]

/** The flock of one file. */
export const lockModel: Model<Locks, LockOp> = {
  start: [],
  key: describeState,
  apply(state, op) {
    switch (op.kind) {
      case 'lock':
        return lock(state, op)
      case 'unlock':
        return [dropped(state, held => held.owner === op.owner)]
      case 'death':
        return [dropped(state, held => held.session === op.session)]
    }
  },
  observes: op => op.kind === 'lock' && !op.taken,
  describe: op =>
    op.kind === 'death'
      ? `death [${op.session}]`
      : op.kind === 'unlock'
        ? `unlock by ${op.owner}`
        : `${op.exclusive ? 'exclusive' : 'shared'} lock by ${op.owner} [${op.session}] = ${op.taken ? 'taken' : 'busy'}`,
  describeState,
}

function lock(
  state: Locks,
  { owner, session, exclusive, taken }: Extract<LockOp, { kind: 'lock' }>,
): readonly Locks[] {
  const others = state.filter(held => held.owner !== owner)
  const free = exclusive ? others.length === 0 : others.every(held => !held.exclusive)
  if (free !== taken) return []
  return taken
    ? [[...others, { owner, session, exclusive }].sort((a, b) => (a.owner < b.owner ? -1 : 1))]
    : [state]
}

function dropped(state: Locks, goes: (held: Held) => boolean): Locks {
  return state.some(goes) ? state.filter(held => !goes(held)) : state
}

function describeState(state: Locks): string {
  return `held by ${state.map(({ owner, session, exclusive }) => `${owner} [${session}]${exclusive ? '!' : ''}`).join(', ') || 'nobody'}`
}
