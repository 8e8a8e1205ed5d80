import { alignedMemory } from '../../core/aligned-memory.ts'
import { assert } from '../../core/assert.ts'
import { sectorBytes } from './disk.ts'

/** A slot of memory that is one's own until it is released, once. */
export interface Slot {
  readonly bytes: Buffer
  readonly release: () => void
}

/**
 * A bounded number of equal pieces of memory that begin at page boundaries, used again and again: they cost
 * neither page faults nor collections, and what waits for one bounds what is under way. The slot that was
 * released last is taken first, so that few are touched.
 */
export class AlignedSlots {
  readonly slotBytes: number
  readonly #free: Buffer[]
  readonly #waiting: ((bytes: Buffer) => void)[] = []

  constructor(count: number, slotBytes: number) {
    assert(slotBytes % sectorBytes === 0, 'slots are whole sectors')
    const buffer = alignedMemory(count * slotBytes)
    this.slotBytes = slotBytes
    this.#free = Array.from({ length: count }, (_, index) =>
      Buffer.from(buffer, index * slotBytes, slotBytes),
    )
  }

  async take(): Promise<Slot> {
    return this.takeFree() ?? this.#lend(await new Promise<Buffer>(resolve => this.#waiting.push(resolve)))
  }

  /** Undefined when all are taken. */
  takeFree(): Slot | undefined {
    const bytes = this.#free.pop()
    return bytes === undefined ? undefined : this.#lend(bytes)
  }

  #lend(bytes: Buffer): Slot {
    let held = true
    return {
      bytes,
      release: () => {
        assert(held, 'a slot is released twice')
        held = false
        const next = this.#waiting.shift()
        if (next === undefined) this.#free.push(bytes)
        else next(bytes)
      },
    }
  }
}
