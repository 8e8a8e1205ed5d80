/**
 * Memory of the write path. Every buffer that holds accepted bytes is a chunk, counted here from its
 * allocation to its last release, so that `usedBytes` is what write-behind costs. They are reused: fresh ones of
 * megabytes cost page faults and garbage collections, and small ones that come and go scatter what a process has.
 */
import { assert } from '../../core/assert.ts'

/** What an allocation costs beside its bytes: the ArrayBuffer, the Buffer and our own records. */
const chunkOverhead = 512

export class Chunk {
  readonly bytes: Buffer
  readonly #release: (chunk: Chunk) => void
  #references = 1
  #reusable = true

  constructor(bytes: Buffer, release: (chunk: Chunk) => void) {
    this.bytes = bytes
    this.#release = release
  }

  get reusable(): boolean {
    return this.#reusable
  }

  /** A transport may still read these bytes (a put that failed half-way): they are never written again. */
  taint(): void {
    this.#reusable = false
  }

  retain(): this {
    assert(this.#references > 0, 'a released chunk is retained')
    this.#references++
    return this
  }

  release(): void {
    assert(this.#references > 0, 'a chunk is released twice')
    if (--this.#references === 0) this.#release(this)
  }
}

export class ChunkPool {
  readonly fullBytes: number
  readonly #keepBytes: number
  /** By size, a power of two. */
  readonly #free = new Map<number, Buffer[]>()
  #freeBytes = 0
  readonly #onRelease: () => void
  #usedBytes = 0

  /** Keeps up to `keepBytes` of unused buffers. `onRelease` is called when memory became free. */
  constructor(fullBytes: number, keepBytes: number, onRelease: () => void = () => undefined) {
    this.fullBytes = fullBytes
    this.#keepBytes = keepBytes
    this.#onRelease = onRelease
  }

  get usedBytes(): number {
    return this.#usedBytes
  }

  get freeBytes(): number {
    return this.#freeBytes
  }

  /** A chunk of at least `bytes`: a power of two, at most `fullBytes`. */
  take(bytes: number): Chunk {
    assert(bytes > 0 && bytes <= this.fullBytes, () => `a chunk of ${bytes} bytes`)
    const size = Math.min(this.fullBytes, 2 ** Math.ceil(Math.log2(Math.max(bytes, 1024))))
    const kept = this.#free.get(size)?.pop()
    if (kept !== undefined) this.#freeBytes -= size
    const buffer = kept ?? Buffer.allocUnsafeSlow(size)
    this.#usedBytes += size + chunkOverhead
    return new Chunk(buffer, chunk => this.#put(chunk))
  }

  /** Frees what is kept for reuse: nothing was written for a while. */
  trim(): void {
    this.#free.clear()
    this.#freeBytes = 0
  }

  #put(chunk: Chunk): void {
    const size = chunk.bytes.length
    this.#usedBytes -= size + chunkOverhead
    if (chunk.reusable && this.#freeBytes + size <= this.#keepBytes) this.#keep(chunk.bytes)
    this.#onRelease()
  }

  #keep(buffer: Buffer): void {
    this.#freeBytes += buffer.length
    const kept = this.#free.get(buffer.length)
    if (kept === undefined) this.#free.set(buffer.length, [buffer])
    else kept.push(buffer)
  }
}
