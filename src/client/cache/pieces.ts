/**
 * The memory of verified pieces. A **frame** is a place for one piece in memory that is allocated once and used
 * again and again: buffers of megabytes that come and go would have the collector run all the time, and each of
 * them be cleared by the kernel first. Who looks at a frame holds it; it is free when nobody does.
 */
import { assert } from '../../core/assert.ts'
import { pieceBytes } from '../../core/limits.ts'

/** The bytes of one piece. */
export interface Piece {
  readonly bytes: Uint8Array
  /** What it takes of memory. */
  readonly cost: number
  hold(): void
  /** After the last one the bytes may be others at any time. */
  release(): void
}

/** A piece in memory of its own, left to the collector: for short ones, which would waste a frame. */
export class OwnPiece implements Piece {
  readonly bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  get cost(): number {
    return this.bytes.length
  }

  hold(): void {
    // The collector sees who looks.
  }

  release(): void {
    // As above.
  }
}

/** Held by who takes it. */
export class Frame implements Piece {
  /** All of its memory. */
  readonly whole: Uint8Array
  readonly cost = pieceBytes
  readonly #free: (frame: Frame) => void
  #bytes: Uint8Array
  #holders = 0

  constructor(whole: Uint8Array, free: (frame: Frame) => void) {
    this.whole = whole
    this.#bytes = whole
    this.#free = free
  }

  get bytes(): Uint8Array {
    return this.#bytes
  }

  /** How much of it is the piece: all but for a block's last. */
  set length(length: number) {
    this.#bytes = length === this.whole.length ? this.whole : this.whole.subarray(0, length)
  }

  hold(): void {
    this.#holders++
  }

  release(): void {
    assert(this.#holders > 0, 'a frame is released more often than held')
    if (--this.#holders === 0) this.#free(this)
  }
}

export class Frames {
  readonly #free: Frame[] = []

  /** Cuts `memory` into frames. */
  constructor(memory: ArrayBuffer) {
    const free = (frame: Frame): void => {
      this.#free.push(frame)
    }
    const count = Math.floor(memory.byteLength / pieceBytes)
    // Taken from the end: the first ones first, so that no more memory is touched than is needed.
    for (let index = count - 1; index >= 0; index--)
      this.#free.push(new Frame(new Uint8Array(memory, index * pieceBytes, pieceBytes), free))
  }

  /** So many, each held once; undefined when there are too few. */
  take(count: number): Frame[] | undefined {
    if (this.#free.length < count) return undefined
    const taken: Frame[] = []
    for (let n = 0; n < count; n++) {
      const frame = this.#free.pop()
      if (frame === undefined) break
      frame.hold()
      frame.length = pieceBytes
      taken.push(frame)
    }
    return taken
  }
}

/** Pieces that one reader looks at until it has passed them on. */
export class Hold {
  #pieces: Piece[] = []
  #over = false

  /** After `release` it has no effect: nobody will look. */
  add(piece: Piece): void {
    if (this.#over) return
    piece.hold()
    this.#pieces.push(piece)
  }

  release(): void {
    this.#over = true
    for (const piece of this.#pieces) piece.release()
    this.#pieces = []
  }
}
