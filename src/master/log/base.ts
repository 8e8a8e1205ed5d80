/** A copy of the database, on its way to some nodes. */
export interface BaseFile {
  readonly bytes: number
  readonly sha256: Uint8Array
  read(offset: number, length: number): Promise<Uint8Array>
  /** It is not needed any more. */
  release(): void
}

export class Base {
  /** The last record that was known when the copy began: it has all changes of it. */
  readonly after: bigint
  readonly file: BaseFile
  /** With all records up to here it is whole: known at the first look after the copy was made. */
  ends: { readonly until: bigint; readonly time: bigint } | undefined
  #users = 0

  constructor(after: bigint, file: BaseFile) {
    this.after = after
    this.file = file
  }

  get inUse(): boolean {
    return this.#users > 0
  }

  use(): void {
    this.#users++
  }

  leave(): void {
    this.#users--
    if (this.#users === 0) this.file.release()
  }
}
