import type { Model } from './checker.ts'

/** What was written last to a cell: the number of the write, 0 for zeros. */
export type Value = number

/** Files are arrays of cells that lie within a page each: a read of several is one operation for each. */
export type FileOp =
  | {
      readonly kind: 'write'
      readonly session: string
      readonly from: number
      readonly count: number
      readonly value: Value
      readonly synced: boolean
      readonly answered: boolean
    }
  | {
      readonly kind: 'append'
      readonly session: string
      readonly count: number
      readonly value: Value
      readonly synced: boolean
      readonly answered: boolean
    }
  | { readonly kind: 'truncate'; readonly session: string; readonly size: number; readonly answered: boolean }
  /** Zeros in the part of the range that the file has. */
  | {
      readonly kind: 'punch'
      readonly session: string
      readonly from: number
      readonly count: number
      readonly answered: boolean
    }
  /** 'end': the file does not reach so far. */
  | { readonly kind: 'read'; readonly session: string; readonly cell: number; readonly found: Value | 'end' }
  | { readonly kind: 'size'; readonly session: string; readonly found: number }
  /**
   * What the session wrote is stored. `since`: sessions of the same mount that died since the file was last
   * synced there without anybody having been told: nothing of theirs is lost either.
   */
  | { readonly kind: 'sync'; readonly session: string; readonly since: readonly string[] }
  /** The session ended: what it wrote and did not store may be gone. */
  | { readonly kind: 'death'; readonly session: string }

/** The first is what it is if nothing was lost. */
type Possible = readonly [number, ...number[]]

/** What a session's death would leave instead: values that were there since all was stored. */
interface Soft {
  readonly session: string
  readonly sizes: readonly number[]
  readonly cells: ReadonlyMap<number, readonly Value[]>
}

export class FileState {
  readonly sizes: Possible
  readonly cells: readonly Possible[]
  readonly soft: Soft | undefined
  /** Sessions that have died and may have taken something that is still uncertain. */
  readonly lost: readonly string[]
  #key: string | undefined

  constructor(sizes: Possible, cells: readonly Possible[], soft: Soft | undefined, lost: readonly string[]) {
    this.sizes = sizes
    this.cells = cells
    this.soft = soft
    this.lost = lost
  }

  get key(): string {
    this.#key ??= [
      this.sizes.join(),
      this.cells.map(cell => cell.join()).join(' '),
      this.soft === undefined
        ? ''
        : `${this.soft.session}:${this.soft.sizes.join()}:${[...this.soft.cells]
            .map(([at, values]) => `${at}=${values.join()}`)
            .sort()
            .join(' ')}`,
      this.lost.join(),
    ].join('|')
    return this.#key
  }

  get certain(): boolean {
    return this.sizes.length === 1 && this.cells.every(cell => cell.length === 1)
  }
}

/** A file of cells from its making on. */
export const fileModel: Model<FileState, FileOp> = {
  start: new FileState([0], [], undefined, []),
  key: state => state.key,
  apply,
  observes: ({ kind }) => kind === 'read' || kind === 'size' || kind === 'sync',
  describe,
  describeState: ({ sizes, cells, soft, lost }) =>
    `${sizes.join('|')} cells [${cells.map(cell => cell.join('|')).join(' ')}]${soft === undefined ? '' : ` (not stored: ${soft.session})`}${lost.length === 0 ? '' : ` (dead: ${lost.join()})`}`,
}

const none: readonly FileState[] = []

function apply(state: FileState, op: FileOp): readonly FileState[] {
  switch (op.kind) {
    case 'write':
      return [written(state, op, op.from)]
    case 'append':
      return state.sizes.map(size => written(withSize(state, size), op, size))
    case 'truncate':
      return [truncated(state, op)]
    case 'punch':
      return [punched(state, op)]
    case 'read':
      return read(state, op)
    case 'size':
      return size(state, op)
    case 'sync':
      return [synced(state, op)]
    case 'death':
      return [dead(state, op.session)]
  }
}

type Of<Kind extends FileOp['kind']> = Extract<FileOp, { readonly kind: Kind }>

/** Whoever else does something with a file has what its writer wrote stored first. */
function seenBy(state: FileState, session: string): FileState {
  return state.soft === undefined || state.soft.session === session
    ? state
    : new FileState(state.sizes, state.cells, undefined, state.lost)
}

function written(before: FileState, op: Of<'write'> | Of<'append'>, from: number): FileState {
  const state = seenBy(before, op.session)
  const draft = new Draft(state, op.session)
  const end = from + op.count
  draft.size(
    state.sizes.map(old => Math.max(old, end)),
    !op.answered,
  )
  for (let at = from; at < end; at++) draft.cell(at, [op.value], !op.answered)
  return op.synced && op.answered ? draft.stored() : draft.done()
}

function truncated(before: FileState, op: Of<'truncate'>): FileState {
  const state = seenBy(before, op.session)
  const draft = new Draft(state, op.session)
  if (op.answered) draft.cut(op.size)
  else draft.size([op.size], true)
  return draft.done()
}

function punched(before: FileState, op: Of<'punch'>): FileState {
  const state = seenBy(before, op.session)
  const draft = new Draft(state, op.session)
  const end = Math.min(op.from + op.count, Math.max(...state.sizes))
  for (let at = op.from; at < end; at++) draft.cell(at, [0], !op.answered)
  // What was written before is stored before it, and it is stored itself.
  return op.answered ? draft.stored() : draft.done()
}

function read(before: FileState, { session, cell, found }: Of<'read'>): readonly FileState[] {
  const state = seenBy(before, session)
  // The kernel looks at the size first: where the file was cut off since, it shows the rest of the page, zeros.
  if (found === 0 && state.sizes.every(size => size <= cell)) return [state]
  const fits = state.sizes.filter(size => (found === 'end' ? size <= cell : size > cell))
  if (!isSome(fits)) return none
  const sized =
    fits.length === state.sizes.length ? state : new FileState(fits, state.cells, state.soft, state.lost)
  if (found === 'end') return [tidy(sized)]
  const possible = sized.cells[cell] ?? [0]
  if (!possible.includes(found)) return none
  if (possible.length === 1) return [tidy(sized)]
  const cells = [...sized.cells]
  cells[cell] = [found]
  return [tidy(new FileState(sized.sizes, cells, sized.soft, sized.lost))]
}

function size(before: FileState, { session, found }: Of<'size'>): readonly FileState[] {
  const state = seenBy(before, session)
  return state.sizes.includes(found) ? [tidy(withSize(state, found))] : none
}

function synced(before: FileState, { session, since }: Of<'sync'>): FileState {
  const state = seenBy(before, session)
  const kept = state.lost.length > 0 && state.lost.every(dead => since.includes(dead))
  if (!kept)
    return state.soft === undefined ? state : new FileState(state.sizes, state.cells, undefined, state.lost)
  // It said that nothing is lost.
  return new FileState(
    [state.sizes[0]],
    state.cells.map(([first]) => [first]),
    undefined,
    [],
  )
}

function dead(state: FileState, session: string): FileState {
  const { soft } = state
  if (soft?.session !== session) return state
  const cells = state.cells.map((cell, at) => union(cell, soft.cells.get(at) ?? []))
  const result = new FileState(union(state.sizes, soft.sizes), cells, undefined, [...state.lost, session])
  return tidy(result)
}

/** Nothing is uncertain any more: who died does not matter. */
function tidy(state: FileState): FileState {
  return state.lost.length > 0 && state.certain
    ? new FileState(state.sizes, state.cells, state.soft, [])
    : state
}

function withSize(state: FileState, size: number): FileState {
  return state.sizes.length === 1 && state.sizes[0] === size
    ? state
    : new FileState([size], state.cells, state.soft, state.lost)
}

const isSome = (values: readonly number[]): values is Possible => values.length > 0

function union(first: Possible, more: readonly number[]): Possible {
  const added = more.filter((value, at) => !first.includes(value) && more.indexOf(value) === at)
  return added.length === 0 ? first : [...first, ...added]
}

/** A state that is being made from another, with what was there before kept for the case that its writer dies. */
class Draft {
  readonly #session: string
  readonly #lost: readonly string[]
  #sizes: Possible
  readonly #cells: Possible[]
  #softSizes: readonly number[]
  readonly #softCells: Map<number, readonly Value[]>

  constructor(state: FileState, session: string) {
    this.#session = session
    this.#sizes = state.sizes
    this.#cells = [...state.cells]
    this.#lost = state.lost
    this.#softSizes = state.soft?.sizes ?? []
    this.#softCells = new Map(state.soft?.cells)
  }

  /** `perhaps`: or not. */
  size(sizes: readonly number[], perhaps: boolean): void {
    const old = this.#sizes
    const distinct = sizes.filter((value, at) => sizes.indexOf(value) === at)
    if (!isSome(distinct)) return
    const [least, most] = [Math.min(...old), Math.max(...distinct)]
    // What is skipped is zeros.
    for (let at = least; at < most; at++) {
      const zero = !old.some(size => size > at)
      this.#cells[at] = zero
        ? [0]
        : old.every(size => size > at)
          ? (this.#cells[at] ?? [0])
          : union(this.#cells[at] ?? [0], [0])
    }
    this.#softSizes = [...new Set([...this.#softSizes, ...old])].filter(
      size => !(distinct.length === 1 && size === distinct[0]),
    )
    this.#sizes = perhaps ? union(distinct, old) : distinct
  }

  cell(at: number, values: Possible, perhaps: boolean): void {
    const old = this.#cells[at] ?? [0]
    const soft = this.#softCells.get(at) ?? []
    this.#softCells.set(at, [...new Set([...soft, ...old])])
    this.#cells[at] = perhaps ? union(values, old) : values
  }

  /** A truncation: the master does it at once, so the size is stored. What lies below may be lost all the same. */
  cut(size: number): void {
    this.size([size], false)
    for (const at of [...this.#softCells.keys()]) if (at >= size) this.#softCells.delete(at)
    // Where the file as stored was shorter, zeros appear when what was written is lost.
    for (let at = 0; at < size; at++)
      if (this.#softSizes.some(soft => soft <= at))
        this.#softCells.set(at, [...new Set([...(this.#softCells.get(at) ?? []), 0])])
    this.#softSizes = []
  }

  done(): FileState {
    const most = Math.max(...this.#sizes, ...this.#softSizes)
    this.#cells.length = Math.min(this.#cells.length, most)
    const soft = { session: this.#session, sizes: this.#softSizes, cells: this.#softCells }
    const hasSoft = soft.sizes.length > 0 || soft.cells.size > 0
    return tidy(new FileState(this.#sizes, this.#cells, hasSoft ? soft : undefined, this.#lost))
  }

  stored(): FileState {
    this.#softSizes = []
    this.#softCells.clear()
    return this.done()
  }
}

function describe(op: FileOp): string {
  switch (op.kind) {
    case 'write':
    case 'punch':
      return `${op.kind} ${'value' in op ? op.value : 0} to ${op.from}+${op.count} [${op.session}]${op.answered ? '' : '?'}`
    case 'append':
      return `append ${op.value} ×${op.count} [${op.session}]${op.answered ? '' : '?'}`
    case 'truncate':
      return `truncate ${op.size} [${op.session}]${op.answered ? '' : '?'}`
    case 'read':
      return `read ${op.cell} = ${op.found} [${op.session}]`
    case 'size':
      return `size = ${op.found} [${op.session}]`
    case 'sync':
      return `sync [${op.session}]${op.since.length === 0 ? '' : ` nothing lost of ${op.since.join()}`}`
    case 'death':
      return `death [${op.session}]`
  }
}
