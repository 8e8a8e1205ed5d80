import type { Ino } from '../../core/ids.ts'

/** What somebody who looks at a file from outside may see while it looks: collects what is written meanwhile. */
export interface Watch {
  readonly contents: Buffer[]
}

/**
 * What a file may contain, by what its programs were told. Usually one content; several after an
 * operation whose outcome is unknown, or a crash that may have lost what was not synced. Among several
 * each byte is judged for itself, since operations are several commits: it must be that of one of them.
 */
export class FileModel {
  readonly id: number
  /** Once it is known. */
  ino: Ino | undefined
  /** What it may contain now. */
  #now: Buffer[] = [Buffer.alloc(0)]
  /** Everything that it may have contained since its data was last known to be on stable storage. */
  #since: Buffer[] = [Buffer.alloc(0)]

  readonly #watches = new Set<Watch>()

  constructor(id: number) {
    this.id = id
  }

  /** From now on, until `unwatch`. With `unsynced` also what it was since it was last synced. */
  watch(unsynced: boolean): Watch {
    const watch = { contents: unsynced ? [...this.#now, ...this.#since] : [...this.#now] }
    this.#watches.add(watch)
    return watch
  }

  unwatch(watch: Watch): void {
    this.#watches.delete(watch)
  }

  /** An operation was asked for: it may take effect at any time from now on. */
  begun(change: (content: Buffer) => Buffer): void {
    for (const { contents } of this.#watches) contents.push(...this.#now.map(change))
  }

  /** Programs may take this as its content: exact unless something is uncertain. */
  get content(): Buffer {
    return this.#now[0] ?? Buffer.alloc(0)
  }

  get exact(): boolean {
    return this.#now.length === 1
  }

  /** Too much is uncertain to go on with it. */
  get hopeless(): boolean {
    return this.#now.length > 12
  }

  /** An operation has succeeded. */
  apply(change: (content: Buffer) => Buffer): void {
    this.#now = distinct(this.#now.map(change))
    this.#since.push(...this.#now)
    this.#changed()
    if (this.#since.length > 60) this.#since = distinct(this.#since)
  }

  /** An operation may have happened, or a part of it. */
  maybe(change: (content: Buffer) => Buffer): void {
    this.#now = distinct([...this.#now, ...this.#now.map(change)])
    this.#since.push(...this.#now)
    this.#changed()
  }

  /** Its data is on stable storage. */
  synced(): void {
    this.#since = [...this.#now]
  }

  /** What was not synced may be gone; of that a truncation may be there without the writes before it. */
  lostUnsynced(): void {
    const possible = [...this.#now, ...this.#since]
    const [synced] = this.#since
    if (synced !== undefined)
      for (const length of new Set(possible.map(content => content.length)))
        possible.push(resized(synced, length))
    this.#now = distinct(possible)
    this.#since = [...this.#now]
    this.#changed()
  }

  /** Nobody is writing to it, and this is what it contains on stable storage. */
  found(content: Buffer): void {
    this.#now = [content]
    this.#since = [content]
  }

  /** What is wrong with a read of `length` bytes at `offset`; undefined if nothing is. */
  judge(offset: number, length: number, found: Buffer): string | undefined {
    if (this.#now.length === 1) return judgeExact(this.content, offset, length, found)
    return judgeAmong(this.#now, offset, length, found)
  }

  judgeSize(size: number): string | undefined {
    return judgeSizeAmong(this.#now, size)
  }

  #changed(): void {
    for (const { contents } of this.#watches) contents.push(...this.#now)
  }
}

export function judgeSizeAmong(contents: readonly Buffer[], size: number): string | undefined {
  const sizes = contents.map(({ length }) => length)
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)]
  return size >= least && size <= most ? undefined : `size ${size}, expected ${least} to ${most}`
}

function judgeExact(content: Buffer, offset: number, length: number, found: Buffer): string | undefined {
  const expected = content.subarray(offset, offset + length)
  if (expected.equals(found)) return undefined
  if (expected.length !== found.length)
    return `${found.length} bytes at ${offset}, expected ${expected.length} (of a file of ${content.length})`
  const at = expected.findIndex((byte, index) => byte !== found[index])
  let count = 0
  for (let index = 0; index < found.length; index++) if (found[index] !== expected[index]) count++
  return `byte ${offset + at} is ${found[at]}, expected ${expected[at]} (${count} of ${found.length} bytes at ${offset} differ)`
}

export function judgeAmong(
  contents: readonly Buffer[],
  offset: number,
  length: number,
  found: Buffer,
): string | undefined {
  const ends = contents.map(content => Math.max(0, Math.min(content.length, offset + length) - offset))
  if (found.length < Math.min(...ends) || found.length > Math.max(...ends))
    return `${found.length} bytes at ${offset}, expected ${Math.min(...ends)} to ${Math.max(...ends)}`
  for (let at = 0; at < found.length; at++) {
    const byte = found[at]
    if (!contents.some(content => (content[offset + at] ?? 0) === byte))
      return `byte ${offset + at} is ${byte}, which it never was (${contents.length} contents are possible)`
  }
  return undefined
}

function distinct(contents: readonly Buffer[]): Buffer[] {
  const found: Buffer[] = []
  for (const content of contents) if (!found.some(other => other.equals(content))) found.push(content)
  return found
}

/** `content` with `data` at `offset`, zeros in between. */
export function written(content: Buffer, offset: number, data: Buffer): Buffer {
  const result = Buffer.alloc(Math.max(content.length, offset + data.length))
  content.copy(result)
  data.copy(result, offset)
  return result
}

export function truncated(content: Buffer, size: number): Buffer {
  const result = Buffer.alloc(size)
  content.copy(result, 0, 0, size)
  return result
}

/** Zeros in [offset, offset + length), within the size. */
export function punched(content: Buffer, offset: number, length: number): Buffer {
  return Buffer.from(content).fill(
    0,
    Math.min(offset, content.length),
    Math.min(offset + length, content.length),
  )
}

function resized(content: Buffer, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  content.copy(bytes)
  return bytes
}
