/** Problems of one kind shown in full; of more there is only the number. */
const shownOfKind = 20

/** Lines for people about what is wrong. Bounded, however much is wrong. */
export class Findings {
  readonly #lines = new Map<string, string[]>()
  readonly #counts = new Map<string, number>()

  /** `kind` groups problems that have one cause. */
  add(kind: string, line: string): void {
    const count = (this.#counts.get(kind) ?? 0) + 1
    this.#counts.set(kind, count)
    if (count > shownOfKind) return
    const lines = this.#lines.get(kind)
    if (lines === undefined) this.#lines.set(kind, [line])
    else lines.push(line)
  }

  check(fine: boolean, kind: string, line: () => string): void {
    if (!fine) this.add(kind, line())
  }

  lines(): string[] {
    return [...this.#lines].flatMap(([kind, lines]) => {
      const more = (this.#counts.get(kind) ?? 0) - lines.length
      return more > 0 ? [...lines, `... and ${more} more: ${kind}`] : lines
    })
  }
}
