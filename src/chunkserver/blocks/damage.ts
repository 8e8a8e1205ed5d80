import type { BlockId } from '../../core/ids.ts'

export interface Damage {
  readonly id: BlockId
  readonly generation: bigint
  readonly what: string
}

/** Beyond this a disk is broken as a whole, and the list of its blocks is no help. */
const damagesMax = 10_000

/**
 * Blocks that are not as the index says. Kept, and told to each new connection of the master, until they
 * are deleted or stored anew: the master has them copied elsewhere and orders the deletion.
 */
export class DamageList {
  readonly #damages = new Map<BlockId, Damage>()
  #found = 0
  readonly #heard = new Set<(damage: Damage) => void>()

  /** How many were found since the process started. */
  get found(): number {
    return this.#found
  }

  /** Calls back for each block that is found damaged from now on. */
  onDamage(callback: (damage: Damage) => void): () => void {
    this.#heard.add(callback)
    return () => this.#heard.delete(callback)
  }

  add(damage: Damage): void {
    if (this.#damages.get(damage.id)?.generation === damage.generation || this.#damages.size >= damagesMax)
      return
    this.#damages.set(damage.id, damage)
    this.#found += 1
    for (const callback of this.#heard) callback(damage)
  }

  of(id: BlockId): Damage | undefined {
    return this.#damages.get(id)
  }

  delete(id: BlockId): void {
    this.#damages.delete(id)
  }

  [Symbol.iterator](): IterableIterator<Damage> {
    return this.#damages.values()
  }
}
