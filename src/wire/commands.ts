import type { Call } from './gen/cairn/v1/session.ts'

export type Op = NonNullable<Call['op']>

const commandCases = [
  'create',
  'link',
  'unlink',
  'rename',
  'setAttr',
  'setXattr',
  'removeXattr',
  'commit',
  'cloneRange',
  'punchRange',
  'closeOrphan',
] as const

/** What changes the namespace, and happens exactly once: both sides must mean the same calls. */
export type CommandOp = Extract<Op, { $case: (typeof commandCases)[number] }>

const commands: ReadonlySet<string> = new Set(commandCases)

export const isCommand = (op: Op): op is CommandOp => commands.has(op.$case)
