import type { Timers } from '../../core/env.ts'
import type { Ino } from '../../core/ids.ts'
import type { Op } from '../../wire/commands.ts'
import type { Reply } from '../../wire/gen/cairn/v1/session.ts'

/**
 * Inodes that an answer told of without a lease on them, where none was held, while its caller has yet to take it in.
 * Others may have changed them between that answer and the next one, whose lease would cover what the first one told:
 * a lease that comes so close behind is not taken. (Declined for nothing, it costs one recall.)
 */
export class EarlyAnswers {
  readonly #timers: Timers
  readonly #inos = new Set<Ino>()

  constructor(timers: Timers) {
    this.#timers = timers
  }

  mayGrant(ino: Ino): boolean {
    return !this.#inos.has(ino)
  }

  /** Before the caller of `op` has the answer. `holds`: a lease is held, with those of the answer. */
  note(op: Op, reply: Reply, holds: (ino: Ino) => boolean): void {
    for (const ino of toldOf(op, reply)) {
      if (holds(ino)) continue
      // Callers take answers in within the turn in which they come.
      if (this.#inos.size === 0) this.#timers.soon(() => this.#inos.clear())
      this.#inos.add(ino)
    }
  }
}

const namedBy = ['ino', 'parent', 'newParent', 'from', 'to'] as const

/** The inodes that an operation names, and those that its result tells of. */
function* toldOf({ value }: Op, { result }: Reply): Generator<Ino> {
  const named: { readonly [field in (typeof namedBy)[number]]?: unknown } & object = value
  for (const field of namedBy) {
    const ino = named[field]
    if (typeof ino === 'bigint') yield ino as Ino
  }
  switch (result?.$case) {
    case 'entry':
    case 'attr':
    case 'remove':
      if (result.value.attr !== undefined) yield result.value.attr.ino as Ino
      break
    case 'rename':
      for (const attr of [result.value.attr, result.value.target, result.value.whiteout])
        if (attr !== undefined) yield attr.ino as Ino
      break
    case 'readDir':
      for (const { attr } of result.value.entries) if (attr !== undefined) yield attr.ino as Ino
      break
    case 'readTree':
      for (const { ino, entries } of result.value.directories) {
        yield ino as Ino
        for (const { attr } of entries) if (attr !== undefined) yield attr.ino as Ino
      }
      break
    default:
  }
}
