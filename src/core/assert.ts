/** A broken assumption of our own: a bug, never an answer to a user. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError'
}

/** Checks what only a bug could make false. The message may be lazy, since most checks pass. */
export function assert(condition: boolean, message: string | (() => string)): asserts condition {
  if (!condition) throw new AssertionError(typeof message === 'string' ? message : message())
}

/** The value, which only a bug could make absent. */
export function must<T>(value: T | null | undefined, what: string): T {
  if (value === null || value === undefined) throw new AssertionError(`missing ${what}`)
  return value
}

/** Marks a branch that the type checker proves unreachable. */
export function unreachable(value: never, what = 'value'): never {
  throw new AssertionError(`unexpected ${what}: ${String(value)}`)
}
