/** A copy of the database, on its way to some nodes. */
export interface BaseFile {
  readonly bytes: number
  readonly sha256: Uint8Array
  read(offset: number, length: number): Promise<Uint8Array>
  /** It is not needed any more. */
  release(): void
}

/** Nodes are told of it when its copy is begun, so that records need not wait here for its end. */
export class Base {
  /** The last record that was known when the copy began: it has all changes of it. */
  readonly after: bigint
  /** With all records up to here it is whole: known at the first look after the copy was made. */
  ends: { readonly until: bigint; readonly time: bigint } | undefined
  #file: BaseFile | undefined
  #users = 0

  constructor(after: bigint) {
    this.after = after
  }

  /** Undefined while the copy is being made. */
  get file(): BaseFile | undefined {
    return this.#file
  }

  get inUse(): boolean {
    return this.#users > 0
  }

  /** The copy is there. Whoever makes it is a user of it until then. */
  made(file: BaseFile): void {
    this.#file = file
  }

  use(): void {
    this.#users++
  }

  leave(): void {
    this.#users--
    if (this.#users === 0) this.#file?.release()
  }
}
