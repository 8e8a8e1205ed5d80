import { assert } from '../../core/assert.ts'
import { sectorBytes } from './disk.ts'

/** The part that is used of WebAssembly, which Node's types leave out. */
interface WasmMemory {
  readonly buffer: ArrayBuffer
}
declare const WebAssembly: {
  readonly Memory: new (size: { readonly initial: number; readonly maximum: number }) => WasmMemory
}
const wasmPageBytes = 64 * 1024

/** A slot of memory that is one's own until it is released, once. */
export interface Slot {
  readonly bytes: Buffer
  readonly release: () => void
}

/**
 * A bounded number of equal pieces of memory that begin at page boundaries, used again and again: they cost
 * neither page faults nor collections, and what waits for one bounds what is under way. Node has no aligned
 * allocation; the memory of WebAssembly begins at a page, and takes only what was ever touched. The slot that
 * was released last is taken first, so that few are.
 */
export class AlignedSlots {
  readonly slotBytes: number
  readonly #free: Buffer[]
  readonly #waiting: ((bytes: Buffer) => void)[] = []

  constructor(count: number, slotBytes: number) {
    assert(slotBytes % sectorBytes === 0, 'slots are whole sectors')
    const pages = Math.ceil((count * slotBytes) / wasmPageBytes)
    const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages })
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
