import type { Model } from './checker.ts'

/** An inode's number; of what was made by a call that nobody was answered, `?` and something of its own. */
export type Id = string
export type Kind = 'file' | 'dir'

export type RenameHow = 'replace' | 'noreplace' | 'exchange'

/** What a program was told; undefined where it does not know. */
export type Answer<Good> = Good | { readonly error: string } | undefined

/** Directories are named by their inodes, as openat(2) and its relatives do it: every call is one step. */
export type NamesOp =
  | {
      readonly kind: 'lookup'
      readonly session: string
      readonly dir: Id
      readonly name: string
      readonly answer: Answer<{ readonly ino: Id; readonly is: Kind }>
    }
  | {
      readonly kind: 'list'
      readonly session: string
      readonly dir: Id
      readonly answer: Answer<{
        readonly entries: readonly { readonly name: string; readonly ino: Id; readonly is: Kind }[]
      }>
    }
  | { readonly kind: 'links'; readonly ino: Id; readonly answer: Answer<{ readonly links: number }> }
  | {
      readonly kind: 'create'
      readonly id: number
      readonly session: string
      readonly dir: Id
      readonly name: string
      readonly exclusive: boolean
      readonly answer: Answer<{ readonly ino: Id }>
    }
  | {
      readonly kind: 'mkdir'
      readonly id: number
      readonly session: string
      readonly dir: Id
      readonly name: string
      readonly answer: Answer<{ readonly ino: Id }>
    }
  | {
      readonly kind: 'unlink' | 'rmdir'
      readonly session: string
      readonly dir: Id
      readonly name: string
      readonly answer: Answer<object>
    }
  | {
      readonly kind: 'rename'
      readonly session: string
      readonly dir: Id
      readonly name: string
      readonly toDir: Id
      readonly toName: string
      readonly how: RenameHow
      readonly answer: Answer<object>
    }
  | {
      readonly kind: 'link'
      readonly session: string
      readonly ino: Id
      readonly dir: Id
      readonly name: string
      readonly answer: Answer<object>
    }
  /** Everything that the session was answered is stored. */
  | { readonly kind: 'sync'; readonly session: string; readonly answer: Answer<object> }
  /** The session ended: what it changed last and did not store may be undone. */
  | { readonly kind: 'death'; readonly session: string }

interface Dir {
  /** Undefined of the root. */
  readonly parent: Id | undefined
  readonly names: ReadonlyMap<string, Id>
}

/** What a name led to; a directory was empty. */
interface Entry {
  readonly dir: Id
  readonly name: string
  readonly ino: Id | undefined
  readonly is: Kind
}

/** A change of names that was promised to programs of a mount and may not be stored: what was before it. */
interface Soft {
  readonly session: string
  readonly before: readonly Entry[]
}

export class NamesState {
  readonly dirs: ReadonlyMap<Id, Dir>
  /** Number of names. A file without any is not here. */
  readonly files: ReadonlyMap<Id, number>
  /** In the order in which they were made. */
  readonly soft: readonly Soft[]
  /** Numbers of files that have lost their last names: of none that an unanswered call made. */
  readonly nameless: ReadonlySet<Id>
  #key: string | undefined

  constructor(
    dirs: ReadonlyMap<Id, Dir>,
    files: ReadonlyMap<Id, number>,
    soft: readonly Soft[],
    nameless: ReadonlySet<Id>,
  ) {
    this.dirs = dirs
    this.files = files
    this.soft = soft
    this.nameless = nameless
  }

  get key(): string {
    this.#key ??= [
      ...[...this.dirs]
        .map(
          ([id, { parent, names }]) =>
            `${id}<${parent ?? ''}:${[...names]
              .map(([name, to]) => `${name}=${to}`)
              .sort()
              .join()}`,
        )
        .sort(),
      [...this.files]
        .map(([id, links]) => `${id}*${links}`)
        .sort()
        .join(),
      this.soft.map(({ session, before }) => `${session}/${before.map(leads).join()}`).join(),
      // Of importance only where a number may still show.
      [...this.files.keys()].some(isUnknown) ? [...this.nameless].sort().join() : '',
    ].join('|')
    return this.#key
  }

  at(dir: Id, name: string): Id | undefined {
    return this.dirs.get(dir)?.names.get(name)
  }

  kindOf(id: Id): Kind {
    return this.dirs.has(id) ? 'dir' : 'file'
  }

  knows(id: Id): boolean {
    return this.dirs.has(id) || this.files.has(id)
  }

  /** Whether `below` is `above` or somewhere below it. */
  isBelow(below: Id, above: Id): boolean {
    for (let at: Id | undefined = below; at !== undefined; at = this.dirs.get(at)?.parent)
      if (at === above) return true
    return false
  }
}

/** The names of a few directories and files, as POSIX has them, with what the death of a mount may take. */
export function namesModel(root: Id): Model<NamesState, NamesOp> {
  return {
    start: new NamesState(
      new Map([[root, { parent: undefined, names: new Map() }]]),
      new Map(),
      [],
      new Set(),
    ),
    key: state => state.key,
    apply,
    observes: op =>
      op.kind === 'lookup' ||
      op.kind === 'list' ||
      op.kind === 'links' ||
      op.kind === 'sync' ||
      ('answer' in op && errorOf(op.answer) !== undefined),
    describe,
    describeState: ({ dirs, files, soft }) =>
      [...dirs]
        .map(
          ([id, { names }]) =>
            `${id}{${[...names].map(([name, to]) => `${name}→${to}${(files.get(to) ?? 1) > 1 ? `×${files.get(to)}` : ''}`).join(' ')}}`,
        )
        .join(' ') +
      (soft.length === 0
        ? ''
        : ` (before promises: ${soft.map(({ before }) => before.map(leads)).join(' ')})`),
  }
}

const none: readonly NamesState[] = []

const leads = ({ dir, name, ino }: Entry): string => `${dir}/${name}→${ino ?? ''}`

/** What is right where a directory is gone: the kernel or the master notices. */
const goneErrors = new Set(['ENOENT', 'ESTALE'])

function apply(state: NamesState, op: NamesOp): readonly NamesState[] {
  switch (op.kind) {
    case 'lookup':
      return lookup(state, op)
    case 'list':
      return list(state, op)
    case 'links':
      return links(state, op)
    case 'create':
    case 'mkdir':
      return make(state, op)
    case 'unlink':
    case 'rmdir':
      return remove(state, op)
    case 'rename':
      return rename(state, op)
    case 'link':
      return link(state, op)
    case 'sync':
      return [stored(state, op.session)]
    case 'death':
      return death(state, op.session)
  }
}

type Of<Kind extends NamesOp['kind']> = Extract<NamesOp, { readonly kind: Kind }>

const errorOf = (answer: Answer<object>): string | undefined =>
  answer !== undefined && 'error' in answer ? answer.error : undefined

function lookup(state: NamesState, { session, dir, name, answer }: Of<'lookup'>): readonly NamesState[] {
  if (answer === undefined) return [state]
  const error = errorOf(answer)
  if (!state.dirs.has(dir)) return error !== undefined && goneErrors.has(error) ? [state] : none
  // What it led to was gone when it was to be used: nothing is said of what it leads to now.
  if (error === 'ESTALE') return [state]
  const seen = seenBy(state, session, [dir])
  const found = seen.at(dir, name)
  if ('error' in answer) {
    const right = found === undefined ? 'ENOENT' : seen.dirs.has(found) ? 'EISDIR' : undefined
    return error === right ? [seen] : none
  }
  return leadsTo(seen, dir, name, answer.ino, answer.is)
}

function list(state: NamesState, { session, dir, answer }: Of<'list'>): readonly NamesState[] {
  if (answer === undefined) return [state]
  const error = errorOf(answer)
  const names = state.dirs.get(dir)?.names
  if (names === undefined)
    return 'error' in answer
      ? error !== undefined && goneErrors.has(error)
        ? [state]
        : none
      : answer.entries.length === 0
        ? [state]
        : none
  if ('error' in answer || answer.entries.length !== names.size) return none
  let seen = seenBy(state, session, [dir])
  for (const { name, ino, is } of answer.entries) {
    const [next] = leadsTo(seen, dir, name, ino, is)
    if (next === undefined) return none
    seen = next
  }
  return [seen]
}

function links(state: NamesState, { ino, answer }: Of<'links'>): readonly NamesState[] {
  if (answer === undefined || 'error' in answer) return [state]
  return withFile(state, ino).filter(({ files }) => answer.links === (files.get(ino) ?? 0))
}

function make(state: NamesState, op: Of<'create'> | Of<'mkdir'>): readonly NamesState[] {
  const { session, dir, name, answer, kind } = op
  const error = errorOf(answer)
  const parent = state.dirs.get(dir)
  if (parent === undefined) return error !== undefined && goneErrors.has(error) ? [state] : none
  const found = parent.names.get(name)
  const seen = seenBy(state, session, [dir])
  if (error === 'EEXIST') return found !== undefined ? [seen] : none
  if (error === 'EISDIR') return found !== undefined && state.dirs.has(found) ? [seen] : none
  if (error !== undefined) return none
  if (found !== undefined) {
    if (kind === 'mkdir' || op.exclusive) return none
    if (answer === undefined || 'error' in answer) return [seen]
    return leadsTo(seen, dir, name, (answer as { ino: Id }).ino, 'file')
  }
  const ino = answer === undefined ? `?${op.id}` : (answer as { ino: Id }).ino
  // A number is never given twice.
  if (seen.knows(ino)) return none
  const edit = new Edit(seen)
  edit.promise(session, [{ dir, name }])
  edit.setName(dir, name, ino)
  if (kind === 'mkdir') edit.dirs.set(ino, { parent: dir, names: new Map() })
  else edit.files.set(ino, 1)
  return [edit.done()]
}

function remove(
  state: NamesState,
  { kind, session, dir, name, answer }: Of<'unlink' | 'rmdir'>,
): readonly NamesState[] {
  const error = errorOf(answer)
  if (!state.dirs.has(dir)) return error !== undefined && goneErrors.has(error) ? [state] : none
  const found = state.at(dir, name)
  const seen = seenBy(state, session, found !== undefined && kind === 'rmdir' ? [dir, found] : [dir])
  const is = found === undefined ? undefined : state.kindOf(found)
  const full = found !== undefined && (state.dirs.get(found)?.names.size ?? 0) > 0
  const right =
    found === undefined
      ? 'ENOENT'
      : kind === 'unlink'
        ? is === 'dir'
          ? 'EISDIR'
          : undefined
        : is === 'file'
          ? 'ENOTDIR'
          : full
            ? 'ENOTEMPTY'
            : undefined
  if (error !== undefined) return error === right ? [seen] : none
  if (right !== undefined || found === undefined) return none
  const edit = new Edit(seen)
  edit.promise(session, [{ dir, name }])
  edit.dropName(dir, name)
  return [edit.done()]
}

function rename(state: NamesState, op: Of<'rename'>): readonly NamesState[] {
  const { session, dir, name, toDir, toName, how, answer } = op
  const error = errorOf(answer)
  if (!state.dirs.has(dir) || !state.dirs.has(toDir))
    return error !== undefined && goneErrors.has(error) ? [state] : none
  const moved = state.at(dir, name)
  const target = state.at(toDir, toName)
  const seen = seenBy(state, session, target === undefined ? [dir, toDir] : [dir, toDir, target])
  if (error !== undefined) return mayFail(state, op, moved, target, error) ? [seen] : none
  if (moved === undefined) return none
  if (how === 'noreplace' && target !== undefined) return none
  if (how === 'exchange' && target === undefined) return none
  if (state.isBelow(toDir, moved)) return none
  if (target !== undefined && state.isBelow(dir, target)) return none
  if (moved === target) return [seen]
  const edit = new Edit(seen)
  const files = !state.dirs.has(moved) && (target === undefined || !state.dirs.has(target))
  if (how === 'exchange' || !files) edit.storedBy(session)
  else
    edit.promise(session, [
      { dir, name },
      { dir: toDir, name: toName },
    ])
  if (how !== 'exchange' && target !== undefined) {
    if (state.kindOf(target) !== state.kindOf(moved)) return none
    if ((state.dirs.get(target)?.names.size ?? 0) > 0) return none
    edit.dropName(toDir, toName)
  }
  edit.clearName(dir, name)
  edit.setName(toDir, toName, moved)
  edit.adopt(moved, toDir)
  if (how === 'exchange' && target !== undefined) {
    edit.setName(dir, name, target)
    edit.adopt(target, dir)
  }
  return [edit.done()]
}

/**
 * The kernel looks both names up, one after the other, before it asks: of two reasons to refuse it names one,
 * and the other name may have changed by then. One true reason is enough.
 */
function mayFail(
  state: NamesState,
  { dir, toDir, how }: Of<'rename'>,
  moved: Id | undefined,
  target: Id | undefined,
  error: string,
): boolean {
  const isDir = (id: Id | undefined) => id !== undefined && state.dirs.has(id)
  switch (error) {
    case 'ENOENT':
      return moved === undefined || (how === 'exchange' && target === undefined)
    case 'EEXIST':
      return how === 'noreplace' && target !== undefined
    case 'EISDIR':
      return isDir(target)
    case 'ENOTDIR':
      return target !== undefined && !isDir(target)
    case 'ENOTEMPTY':
      return (
        target !== undefined && ((state.dirs.get(target)?.names.size ?? 0) > 0 || state.isBelow(dir, target))
      )
    case 'EINVAL':
      return (
        (moved !== undefined && state.isBelow(toDir, moved)) ||
        (how === 'exchange' && target !== undefined && state.isBelow(dir, target))
      )
    default:
      return false
  }
}

function link(state: NamesState, op: Of<'link'>): readonly NamesState[] {
  const { session, ino, dir, name, answer } = op
  const error = errorOf(answer)
  const count = state.files.get(ino)
  // Somebody has it open who was not told how it is reached.
  if (error === undefined && count === undefined)
    return withFile(state, ino).flatMap(known => (known === state ? none : link(known, op)))
  if (error !== undefined && goneErrors.has(error))
    return count === undefined || !state.dirs.has(dir) ? [state] : none
  if (!state.dirs.has(dir)) return none
  const found = state.at(dir, name)
  const seen = seenBy(state, session, [dir])
  if (error !== undefined) return error === 'EEXIST' && found !== undefined ? [seen] : none
  if (count === undefined || found !== undefined) return none
  const edit = new Edit(seen)
  edit.setName(dir, name, ino)
  edit.files.set(ino, count + 1)
  edit.storedBy(session)
  return [edit.done()]
}

/** The last of the session's promises may not have been kept, each with those after it. */
function death(state: NamesState, session: string): readonly NamesState[] {
  const own = state.soft.filter(soft => soft.session === session)
  if (own.length === 0) return [state]
  return Array.from({ length: own.length + 1 }, (_, kept) => {
    const edit = new Edit(state)
    for (const { before } of own.slice(kept).reverse()) for (const entry of before) edit.lead(entry)
    edit.storedBy(session)
    return edit.done()
  })
}

/** All that the session did is stored. */
function stored(state: NamesState, session: string): NamesState {
  if (state.soft.every(soft => soft.session !== session)) return state
  const edit = new Edit(state)
  edit.storedBy(session)
  return edit.done()
}

/** Whoever looks into a directory has the promises of others kept first. */
function seenBy(state: NamesState, session: string, dirs: readonly Id[]): NamesState {
  const others = new Set(
    state.soft
      .filter(soft => soft.session !== session && soft.before.some(({ dir }) => dirs.includes(dir)))
      .map(soft => soft.session),
  )
  if (others.size === 0) return state
  const edit = new Edit(state)
  for (const other of others) edit.storedBy(other)
  return edit.done()
}

/** The name leads to this inode, if that is what it may be. */
function leadsTo(state: NamesState, dir: Id, name: string, ino: Id, is: Kind): readonly NamesState[] {
  const found = state.at(dir, name)
  if (found === undefined || state.kindOf(found) !== is) return none
  if (found === ino) return [state]
  if (!isUnknown(found) || state.knows(ino) || state.nameless.has(ino)) return none
  return [renumbered(state, found, ino)]
}

/** What is known of a file by its number alone: it may be any that an unanswered call made. */
function withFile(state: NamesState, ino: Id): readonly NamesState[] {
  if (state.knows(ino) || state.nameless.has(ino)) return [state]
  const unknown = [...state.files.keys()].filter(isUnknown)
  return [state, ...unknown.map(id => renumbered(state, id, ino))]
}

const isUnknown = (id: Id): boolean => id.startsWith('?')

/** What an unanswered call made shows its number. */
function renumbered(state: NamesState, from: Id, to: Id): NamesState {
  const id = (old: Id) => (old === from ? to : old)
  return new NamesState(
    new Map(
      [...state.dirs].map(([dir, { parent, names }]) => [
        id(dir),
        {
          parent: parent === undefined ? undefined : id(parent),
          names: new Map([...names].map(([name, old]) => [name, id(old)])),
        },
      ]),
    ),
    new Map([...state.files].map(([file, count]) => [id(file), count])),
    state.soft.map(({ session, before }) => ({
      session,
      before: before.map(({ dir, name, ino, is }) => ({
        dir: id(dir),
        name,
        is,
        ino: ino === undefined ? undefined : id(ino),
      })),
    })),
    state.nameless,
  )
}

/** A state that is being made from another. */
class Edit {
  readonly dirs: Map<Id, Dir>
  readonly files: Map<Id, number>
  soft: Soft[]
  readonly nameless: Set<Id>

  constructor(state: NamesState) {
    this.dirs = new Map(state.dirs)
    this.files = new Map(state.files)
    this.soft = [...state.soft]
    this.nameless = new Set(state.nameless)
  }

  setName(dir: Id, name: string, ino: Id): void {
    this.#change(dir, names => names.set(name, ino))
  }

  /** The name alone. */
  clearName(dir: Id, name: string): void {
    this.#change(dir, names => names.delete(name))
  }

  /** The name, and what has no other. */
  dropName(dir: Id, name: string): void {
    const ino = this.dirs.get(dir)?.names.get(name)
    this.clearName(dir, name)
    if (ino === undefined || this.dirs.delete(ino)) return
    const count = (this.files.get(ino) ?? 1) - 1
    if (count > 0) this.files.set(ino, count)
    else {
      this.files.delete(ino)
      if (!isUnknown(ino)) this.nameless.add(ino)
    }
  }

  /** The name leads there, as it did before. */
  lead({ dir, name, ino, is }: Entry): void {
    const now = this.dirs.get(dir)?.names.get(name)
    if (now === ino) return
    if (now !== undefined) this.dropName(dir, name)
    if (ino === undefined) return
    this.setName(dir, name, ino)
    if (is === 'dir') this.dirs.set(ino, { parent: dir, names: new Map() })
    else {
      this.files.set(ino, (this.files.get(ino) ?? 0) + 1)
      this.nameless.delete(ino)
    }
  }

  /** What comes now may be undone: it changes these names. */
  promise(session: string, names: readonly Pick<Entry, 'dir' | 'name'>[]): void {
    const before = names.map(({ dir, name }): Entry => {
      const ino = this.dirs.get(dir)?.names.get(name)
      return { dir, name, ino, is: ino !== undefined && this.dirs.has(ino) ? 'dir' : 'file' }
    })
    this.soft.push({ session, before })
  }

  adopt(ino: Id, parent: Id): void {
    const dir = this.dirs.get(ino)
    if (dir !== undefined) this.dirs.set(ino, { ...dir, parent })
  }

  storedBy(session: string): void {
    this.soft = this.soft.filter(soft => soft.session !== session)
  }

  done(): NamesState {
    return new NamesState(this.dirs, this.files, this.soft, this.nameless)
  }

  #change(dir: Id, change: (names: Map<string, Id>) => void): void {
    const { parent, names } = this.dirs.get(dir) ?? { parent: undefined, names: new Map<string, Id>() }
    const changed = new Map(names)
    change(changed)
    this.dirs.set(dir, { parent, names: changed })
  }
}

function describe(op: NamesOp): string {
  const who = 'session' in op ? ` [${op.session}]` : ''
  const end = 'answer' in op ? ` = ${op.answer === undefined ? '?' : JSON.stringify(op.answer)}` : ''
  switch (op.kind) {
    case 'links':
      return `links of ${op.ino}${end}`
    case 'rename':
      return `rename ${op.how} ${op.dir}/${op.name} ${op.toDir}/${op.toName}${who}${end}`
    case 'link':
      return `link ${op.ino} ${op.dir}/${op.name}${who}${end}`
    case 'list':
      return `list ${op.dir}${who}${end}`
    case 'sync':
    case 'death':
      return `${op.kind}${who}`
    default:
      return `${op.kind} ${op.dir}/${op.name}${who}${end}`
  }
}
