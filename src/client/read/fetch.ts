/**
 * One request for consecutive pieces of a block, joined by everybody who needs any of them. It holds what has come
 * until all of them have left.
 */
import { must } from '../../core/assert.ts'
import type { Piece } from '../cache/pieces.ts'
import { deferred, type Deferred } from '../waiting.ts'

export class Fetch {
  readonly first: number
  /** Exclusive. */
  readonly end: number
  readonly #pieces: Piece[] = []
  readonly #waiting: { readonly end: number; readonly done: Deferred<undefined> }[] = []
  #users = 0

  constructor(first: number, end: number) {
    this.first = first
    this.end = end
  }

  /** The next piece to come. */
  get next(): number {
    return this.first + this.#pieces.length
  }

  covers(piece: number): boolean {
    return this.first <= piece && piece < this.end
  }

  /** Pieces that have come, which the cache may have dropped since. */
  piece(index: number): Piece {
    return must(this.#pieces[index - this.first], `piece ${index}`)
  }

  join(): this {
    this.#users++
    return this
  }

  leave(): void {
    if (--this.#users > 0) return
    for (const piece of this.#pieces) piece.release()
  }

  /** Resolves when all pieces before `end` have come. */
  async reach(end: number): Promise<void> {
    if (this.next >= end) return
    const done = deferred<undefined>()
    this.#waiting.push({ end, done })
    await done.promise
  }

  deliver(pieces: readonly Piece[]): void {
    for (const piece of pieces) {
      piece.hold()
      this.#pieces.push(piece)
    }
    const { next } = this
    for (let i = this.#waiting.length - 1; i >= 0; i--) {
      const waiting = this.#waiting[i]
      if (waiting === undefined || waiting.end > next) continue
      this.#waiting.splice(i, 1)
      waiting.done.resolve(undefined)
    }
  }

  fail(error: unknown): void {
    for (const { done } of this.#waiting.splice(0)) done.reject(error)
  }
}
