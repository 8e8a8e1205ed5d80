import type { Dirent } from '../../core/attr.ts'
import type { Ino } from '../../core/ids.ts'
import type { Name } from '../../core/name.ts'

/** A directory's whole list, in the order of cookies. */
export class Listing {
  readonly parent: Ino
  #entries: Dirent[]
  /** Somebody may hold what `entries` gave. */
  #given: boolean
  /** Names are mostly removed in the order of the list: where the last one was. */
  #removedAt = 0

  /** `entries` is not changed. */
  constructor(entries: readonly Dirent[], parent: Ino) {
    this.#entries = entries as Dirent[]
    this.#given = true
    this.parent = parent
  }

  /** As they are now: what is given is not changed later. */
  get entries(): readonly Dirent[] {
    this.#given = true
    return this.#entries
  }

  get length(): number {
    return this.#entries.length
  }

  /** A new name. False if it does not belong to the end, as a name that was just made does. */
  add(entry: Dirent): boolean {
    const last = this.#entries.at(-1)
    if (last !== undefined && last.cookie >= entry.cookie) return false
    this.#own().push(entry)
    return true
  }

  /** Whether it was there. */
  remove(name: Name): boolean {
    const found = this.#find(name)
    if (found < 0) return false
    this.#own().splice(found, 1)
    this.#removedAt = found
    return true
  }

  #find(name: Name): number {
    const entries = this.#entries
    for (let looked = 0, at = this.#removedAt; looked < entries.length; looked++, at++) {
      if (at >= entries.length) at = 0
      if (entries[at]?.name === name) return at
    }
    return -1
  }

  #own(): Dirent[] {
    if (this.#given) this.#entries = [...this.#entries]
    this.#given = false
    return this.#entries
  }
}
