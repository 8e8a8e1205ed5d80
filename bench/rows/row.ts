/** One row of the table: the same work, by the same code, on any folder. */
export interface Row {
  /** Short, for options and file names. */
  readonly key: string
  readonly name: string
  readonly unit: string
  /** The kernel's caches are dropped before it; done a second time at the end of the group, mounted anew. */
  readonly cold?: boolean
  /** Makes what the cold rows of its group look at, which a later one removes. */
  readonly makes?: boolean
  /** Has no meaning on a local file system. */
  readonly notLocal?: boolean
  /** The program waits for each of its steps, so how they are batched does not depend on the machine. */
  readonly waits?: boolean
  /** At least so many times the best peer. */
  readonly goal?: number
  /** What must be there first, and is not measured. */
  readonly prepare?: (dir: string) => void
  readonly run: (dir: string) => Done | Promise<Done>
}

export interface Done {
  readonly units: number
  /** Where the program says itself how long it worked; else it is taken from outside. */
  readonly ms?: number
}

/** Makes the rows of one kind: their keys and names begin with what it is. */
export const rowsOf =
  (kind: string) =>
  (key: string, name: string, unit: string, run: Row['run'], more: Partial<Row> = {}): Row => ({
    key: `${kind}-${key}`,
    name: `${kind}: ${name}`,
    unit,
    run,
    ...more,
  })

/** Rows that build on each other's files, in this order. */
export interface Group {
  readonly key: string
  readonly rows: readonly Row[]
}

export interface Sizes {
  /** Small files of a row. */
  readonly files: number
  /** Of the large file. */
  readonly bigMiB: number
  /** Reads of 4 KiB here and there, writes are a tenth of it. */
  readonly randoms: number
  /** A folder that is taken for the tree, instead of npm's. */
  readonly tree?: string
}

export const fullSizes: Sizes = { files: 3000, bigMiB: 512, randoms: 4000 }

export const KiB = 1024
export const MiB = 1024 * KiB
/** Of a small file. */
export const smallBytes = 4 * KiB
