/**
 * Which fields of a call name inodes. One row an operation: what a session of an export may not name is found here, so
 * that a new operation cannot be forgotten (the compiler wants its row, a test holds the rows against proto/).
 *
 * - file: what is to be there; else ESTALE, as if it were gone.
 * - directory: likewise, but ENOENT.
 * - hint: something that only helps; what is not to be seen counts as not given.
 * - each: an item of a list; what is not to be seen is left out.
 * - held: what the session has itself: where it is not to be seen any more, there is nothing to do.
 * - compared: is compared with what a name leads to that the session sees.
 * - reserved: must be a number that was reserved for the session.
 */
import type { Op } from '../../wire/commands.ts'

export type Naming = 'file' | 'directory' | 'hint' | 'each' | 'held' | 'compared' | 'reserved'

type Value<Case extends Op['$case']> = Extract<Op, { readonly $case: Case }>['value']
/** `list.field`: of each item of a list. */
type FieldOf<T> = {
  [Key in keyof T & string]: T[Key] extends bigint | readonly bigint[]
    ? Key
    : T[Key] extends readonly (infer Item)[]
      ? `${Key}.${{ [Inner in keyof Item & string]: Item[Inner] extends bigint ? Inner : never }[keyof Item & string]}`
      : never
}[keyof T & string]

export type NamedInodes = {
  readonly [Case in Op['$case']]: { readonly [Field in FieldOf<Value<Case>>]?: Naming }
}

export const namedInodes: NamedInodes = {
  lookup: { parent: 'directory' },
  getAttr: { ino: 'file' },
  readDir: { ino: 'directory' },
  readTree: { inos: 'each' },
  readLink: { ino: 'file' },
  getXattr: { ino: 'file' },
  listXattr: { ino: 'file' },
  getExtents: { ino: 'file' },
  getExtentsOf: { inos: 'each' },
  locate: {},
  statFs: {},
  acquire: { ino: 'file' },
  reclaim: { 'leases.ino': 'each', 'locks.ino': 'each' },
  plan: { ino: 'hint', 'blocks.ino': 'hint' },
  getLock: { ino: 'file' },
  setLock: { ino: 'file' },
  reportDamage: {},
  reserveSpace: {},
  barrier: {},
  reserveInos: {},
  endSession: {},
  settle: { ino: 'held' },
  create: { parent: 'directory', ino: 'reserved' },
  link: { ino: 'file', parent: 'directory' },
  unlink: { parent: 'directory', expected: 'compared' },
  rename: { parent: 'directory', newParent: 'directory', expectedTarget: 'compared', expected: 'compared' },
  setAttr: { ino: 'file' },
  setXattr: { ino: 'file' },
  removeXattr: { ino: 'file' },
  commit: { ino: 'file' },
  cloneRange: { from: 'file', to: 'file' },
  punchRange: { ino: 'file' },
  closeOrphan: { ino: 'held' },
}
