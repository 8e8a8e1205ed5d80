import type { BlockKey } from '../../core/ids.ts'
import { type RepairClass, repairClasses } from './plan-repair.ts'

export interface QueueEntry {
  readonly length: number
  /** What is to be done; undefined for one that only waits for a node to come back. */
  readonly class: RepairClass | undefined
  /** Good copies that can be read now, if these are too few although there are rows enough; undefined otherwise. */
  readonly lacking: number | undefined
}

/** More are found again when these are done. */
const entriesMaxDefault = 300_000
const leastUrgentFirst: readonly (RepairClass | undefined)[] = [undefined, ...[...repairClasses].reverse()]

/** Blocks that need something, by its urgency. In memory only: found again in the tables. */
export class RepairQueue {
  readonly #classes = new Map<RepairClass | undefined, Map<BlockKey, QueueEntry>>(
    [...repairClasses, undefined].map(each => [each, new Map()]),
  )
  readonly #bytes = new Map<RepairClass | undefined, number>()
  #size = 0
  #lacking = 0
  #lackingAll = 0
  #overflowed = false
  readonly #entriesMax: number

  constructor(entriesMax = entriesMaxDefault) {
    this.#entriesMax = entriesMax
  }

  put(key: BlockKey, entry: QueueEntry): void {
    this.delete(key)
    if (this.#size >= this.#entriesMax) {
      this.#overflowed = true
      if (!this.#makeRoom(entry.class)) return
    }
    this.#of(entry.class).set(key, entry)
    this.#count(entry, 1)
  }

  /** One that is less urgent goes, if there is one: it is found again. */
  #makeRoom(cls: RepairClass | undefined): boolean {
    for (const other of leastUrgentFirst) {
      if (other === cls) return false
      for (const key of this.#of(other).keys()) {
        this.delete(key)
        return true
      }
    }
    return false
  }

  has(key: BlockKey): boolean {
    for (const entries of this.#classes.values()) if (entries.has(key)) return true
    return false
  }

  delete(key: BlockKey): void {
    for (const entries of this.#classes.values()) {
      const entry = entries.get(key)
      if (entry === undefined) continue
      entries.delete(key)
      this.#count(entry, -1)
      return
    }
  }

  /** Up to `limit` keys of a class; those that are named go to its end, so that none hides those behind it. */
  take(cls: RepairClass, limit: number): BlockKey[] {
    const entries = this.#of(cls)
    const keys: BlockKey[] = []
    for (const key of entries.keys()) {
      if (keys.length >= limit) break
      keys.push(key)
    }
    for (const key of keys) {
      const entry = entries.get(key)
      entries.delete(key)
      if (entry !== undefined) entries.set(key, entry)
    }
    return keys
  }

  sizeOf(cls: RepairClass): { readonly blocks: number; readonly bytes: number } {
    return { blocks: this.#of(cls).size, bytes: this.#bytes.get(cls) ?? 0 }
  }

  /** Up to `limit` blocks of which no good copy can be read now. */
  unreachable(limit: number): BlockKey[] {
    const keys: BlockKey[] = []
    for (const entries of this.#lackingAll === 0 ? [] : this.#classes.values())
      for (const [key, { lacking }] of entries) {
        if (keys.length >= limit) return keys
        if (lacking === 0) keys.push(key)
      }
    return keys
  }

  /** Blocks with rows enough of which too few, or none, can be read now. */
  get lacking(): { readonly some: number; readonly all: number } {
    return { some: this.#lacking, all: this.#lackingAll }
  }

  /** Blocks were left out, and there is room for them again. Says so once. */
  takeMissed(): boolean {
    if (!this.#overflowed || this.#size > this.#entriesMax / 2) return false
    this.#overflowed = false
    return true
  }

  #of(cls: RepairClass | undefined): Map<BlockKey, QueueEntry> {
    return this.#classes.get(cls) as Map<BlockKey, QueueEntry>
  }

  #count({ class: cls, length, lacking }: QueueEntry, by: 1 | -1): void {
    this.#size += by
    this.#bytes.set(cls, (this.#bytes.get(cls) ?? 0) + by * length)
    if (lacking !== undefined) this.#lacking += by
    if (lacking === 0) this.#lackingAll += by
  }
}
