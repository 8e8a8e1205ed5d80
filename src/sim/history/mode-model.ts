import type { Model } from './checker.ts'

/** Permission bits of one inode. */
export type ModeOp =
  | { readonly kind: 'chmod'; readonly session: string; readonly mode: number }
  /** `found` is undefined if the answer was an error. */
  | { readonly kind: 'look'; readonly session: string; readonly found: number | undefined }
  /** The session ended, and with it what it was promised. */
  | { readonly kind: 'death'; readonly session: string }

interface Mode {
  readonly mode: number
  /** Who set it, if nobody else has seen that yet: it may be known to its mount only. */
  readonly owner: string | undefined
  /** What it may become again with the end of that session. */
  readonly before: readonly number[]
}

/** Of a file that a program makes. */
const madeMode = 0o644

const known = (mode: number): Mode => ({ mode, owner: undefined, before: [] })

/** A register whose last changes, all of one session, may be lost with that session. */
export const modeModel: Model<Mode, ModeOp> = {
  start: known(madeMode),
  key: describeState,
  apply(state, op) {
    const { mode, owner, before } = state
    switch (op.kind) {
      case 'chmod': {
        const earlier = owner === op.session ? before.filter(other => other !== mode) : []
        return [{ mode: op.mode, owner: op.session, before: [...earlier, mode] }]
      }
      case 'look':
        if (op.found === undefined) return [state]
        if (op.found !== mode) return []
        return owner === undefined || owner === op.session ? [state] : [known(mode)]
      case 'death':
        if (owner !== op.session) return [state]
        return [...new Set([mode, ...before])].map(known)
    }
  },
  observes: op => op.kind === 'look',
  describe: op =>
    op.kind === 'death'
      ? `death [${op.session}]`
      : op.kind === 'chmod'
        ? `chmod ${octal(op.mode)} [${op.session}]`
        : `look = ${op.found === undefined ? 'error' : octal(op.found)} [${op.session}]`,
  describeState,
}

function describeState({ mode, owner, before }: Mode): string {
  return owner === undefined
    ? octal(mode)
    : `${octal(mode)} [${owner}], before ${before.map(octal).join(' ')}`
}

function octal(mode: number): string {
  return mode.toString(8)
}
