import type { BlockKey } from '../../core/ids.ts'
import type { DamagedRange } from '../../wire/gen/cairn/v1/admin.ts'
import type { Store } from '../store/store.ts'
import { pathOf } from './paths.ts'

/** Ranges found for one block: content may be in very many files. */
const rangesPerBlock = 100

/** Looks for the parts of files that are in some blocks. There is no index by block: all extents are read, in steps. */
export class FindRanges {
  readonly #store: Store
  readonly found = new Map<BlockKey, DamagedRange[]>()
  #at: { readonly ino: bigint; readonly offset: number } | undefined = { ino: 0n, offset: 0 }

  constructor(store: Store, blocks: Iterable<BlockKey>) {
    this.#store = store
    for (const block of blocks) this.found.set(block, [])
    if (this.found.size === 0) this.#at = undefined
  }

  /** One step of about `budget` rows. True when all are found. */
  step(budget: number): boolean {
    if (this.#at === undefined) return true
    const rows = this.#store.extents.after(this.#at.ino, this.#at.offset, budget)
    for (const { ino, offset, length, block } of rows) {
      const ranges = this.found.get(block)
      if (ranges === undefined || ranges.length >= rangesPerBlock) continue
      const path = pathOf(this.#store, ino)
      ranges.push({ ino, path, offset: BigInt(offset), length: BigInt(length) })
    }
    this.#at = rows.length < budget ? undefined : rows.at(-1)
    return this.#at === undefined
  }
}
