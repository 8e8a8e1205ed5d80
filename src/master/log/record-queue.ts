import { must } from '../../core/assert.ts'

const noBytes = new Uint8Array(0)

interface Queued {
  readonly sequence: bigint
  readonly bytes: Uint8Array
}

/** Records that somebody may still need, in order, bounded: beyond the bound the oldest go. */
export class RecordQueue {
  readonly #bytesMax: number
  #records: Queued[] = []
  /** Records before this index have gone. */
  #gone = 0
  #bytes = 0
  #last = 0n

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  /** The last one that was added, or that is known to be none. */
  get last(): bigint {
    return this.#last
  }

  /** There is nothing to be added up to here. */
  reach(sequence: bigint): void {
    this.#last = sequence
  }

  add(sequence: bigint, given: Uint8Array): void {
    // One that came as a part of something larger would keep all of that.
    const bytes = given.buffer.byteLength > 2 * given.length ? given.slice() : given
    this.#records.push({ sequence, bytes })
    this.#bytes += bytes.length
    this.#last = sequence
    while (this.#bytes > this.#bytesMax) this.#shift()
  }

  /** Undefined if it has gone, or is yet to come. */
  get(sequence: bigint): Uint8Array | undefined {
    const first = this.#records[this.#gone]
    if (first === undefined || sequence < first.sequence) return undefined
    // Without holes it is there; with one it is a little before.
    for (let at = this.#gone + Number(sequence - first.sequence); at >= this.#gone; at--) {
      const record = this.#records[at]
      if (record !== undefined && record.sequence <= sequence)
        return record.sequence === sequence ? record.bytes : undefined
    }
    return undefined
  }

  /** Whether all records after this one that there are can be had. */
  follows(sequence: bigint): boolean {
    return sequence >= this.#last || this.get(sequence + 1n) !== undefined
  }

  /** Bytes of the records after this one. */
  bytesAfter(sequence: bigint): number {
    let bytes = 0
    for (let at = this.#records.length - 1; at >= this.#gone; at--) {
      const record = must(this.#records[at], 'record')
      if (record.sequence <= sequence) break
      bytes += record.bytes.length
    }
    return bytes
  }

  /** Nobody needs these any more. */
  dropTo(sequence: bigint): void {
    for (;;) {
      const first = this.#records[this.#gone]
      if (first === undefined || first.sequence > sequence) return
      this.#shift()
    }
  }

  clear(): void {
    this.#records = []
    this.#gone = 0
    this.#bytes = 0
    this.#last = 0n
  }

  #shift(): void {
    const first = this.#records[this.#gone]
    if (first === undefined) return
    this.#bytes -= first.bytes.length
    this.#records[this.#gone] = { sequence: first.sequence, bytes: noBytes }
    this.#gone++
    // The array is cut now and then: its memory, not that of the records.
    if (this.#gone < 1024 && this.#gone < this.#records.length) return
    this.#records = this.#records.slice(this.#gone)
    this.#gone = 0
  }
}
