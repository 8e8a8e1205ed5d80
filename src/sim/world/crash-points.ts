/**
 * The moments at which a machine waits for something: a disk, an index, a commit, an answer. Each has a name, the same
 * for all machines, and a rare one is as likely to be armed as one that comes a thousand times a second.
 */
export class CrashPoints {
  /** With how often each was reached. */
  readonly #seen = new Map<string, number>()
  readonly #armed = new Map<string, { skip: number; readonly strike: (machine: string) => void }>()

  /** In the order in which they were first reached. */
  get names(): string[] {
    return [...this.#seen.keys()]
  }

  /** `strike` is called, once, when a machine gets there after `skip` others did. */
  arm(name: string, skip: number, strike: (machine: string) => void): void {
    this.#armed.set(name, { skip, strike })
  }

  disarm(): void {
    this.#armed.clear()
  }

  reached(name: string, machine: string): void {
    this.#seen.set(name, (this.#seen.get(name) ?? 0) + 1)
    const armed = this.#armed.get(name)
    if (armed === undefined || armed.skip-- > 0) return
    this.#armed.delete(name)
    armed.strike(machine)
  }
}

/** What a frame says, without its values: the names of the cases in it, down its first items. */
export function caseOf(frame: unknown): string {
  for (let value = frame, names: string[] = []; ; ) {
    if (Array.isArray(value)) value = value[0] as unknown
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return names.join('.')
    if ('$case' in value && typeof value.$case === 'string') {
      names = [...names, value.$case]
      value = 'value' in value ? value.value : undefined
    } else {
      value = Object.values(value).find(
        (inner: unknown) => typeof inner === 'object' && inner !== null && !ArrayBuffer.isView(inner),
      ) as unknown
    }
  }
}
