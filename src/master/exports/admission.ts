/**
 * What every call of a session of an export passes, right before it is executed: it names nothing outside (Subtrees), it
 * is allowed by the rules as they are now, its users are who the export takes them for (Squashed); and what its answer
 * says of the rest of the cluster is left out. Sessions that see everything do not come here.
 *
 * An inode outside fails like one that was removed, so that numbers tell nothing.
 */
import { isDirectory, S_ISGID, S_ISUID } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import type { BlockKey, Ino, SessionId } from '../../core/ids.ts'
import { minute } from '../../core/units.ts'
import { isCommand, type Op } from '../../wire/commands.ts'
import { type BlockInfo, LeaseKind, LockKind } from '../../wire/gen/cairn/v1/session.ts'
import type { Turn } from '../engine/turn.ts'
import type { Result } from '../namespace/context.ts'
import { capabilityName } from '../namespace/privileges.ts'
import type { ExportRow } from '../store/exports.ts'
import { Access, want } from './access.ts'
import { KnownBlocks } from './known-blocks.ts'
import { namedInodes, type Naming } from './named-inodes.ts'
import { isDevice, isTrusted, Squashed } from './squash.ts'
import type { Subtrees } from './subtree.ts'

/** Refusals of a session are logged so often. */
const loggedEveryMs = 1 * minute

/** What a session of an export is known by here. */
export class Scope {
  readonly session: SessionId
  readonly export: string
  readonly blocks: KnownBlocks
  denied = 0
  loggedMs = Number.NEGATIVE_INFINITY

  constructor(session: SessionId, name: string, random: Buffer) {
    this.session = session
    this.export = name
    // With room to count on.
    this.blocks = new KnownBlocks(random.readBigUInt64LE() >> 2n)
  }
}

export class Admission {
  readonly #turn: Turn
  readonly #subtrees: Subtrees

  constructor(turn: Turn, subtrees: Subtrees) {
    this.#turn = turn
    this.#subtrees = subtrees
  }

  /** The call as it is to be executed; undefined: there is nothing to do. Throws what it is answered with instead. */
  admit(scope: Scope, op: Op): Op | undefined {
    try {
      const rules = this.#rulesOf(scope)
      if (!this.#namesOnlyWhatIsThere(scope, rules, op)) return undefined
      checkRules(rules, op, ino => isDirectory(this.#turn.store.inodes.find(ino)?.mode ?? 0))
      const judged =
        rules.squash === 'none' ? op : new Squashed(this.#turn.store, this.#access(rules)).judged(op)
      return this.#veiled(scope, rules, judged)
    } catch (thrown) {
      this.#note(scope, op, FsError.from(thrown))
      throw thrown
    }
  }

  /** The answer, without what it would tell of what is outside. */
  shown(scope: Scope, op: Op, result: Result): Result {
    const { store } = this.#turn
    switch (result.$case) {
      case 'readDir':
        if (op.$case === 'readDir' && op.value.ino === store.exports.find(scope.export)?.ino)
          result.value.parent = op.value.ino
        return result
      case 'readTree':
        for (const directory of result.value.directories)
          if (directory.ino === store.exports.find(scope.export)?.ino) directory.parent = directory.ino
        return result
      case 'extents':
      case 'locate':
        noteShown(scope, result.value.blocks)
        return result
      case 'extentsOf':
        for (const { extents } of result.value.files) noteShown(scope, extents?.blocks ?? [])
        return result
      case 'plan':
        result.value.blocks = result.value.blocks.map(block =>
          block.key === 0n ? block : { ...block, key: scope.blocks.nameOf(block.key as BlockKey) },
        )
        return result
      case 'commit':
        for (const key of result.value.keys) scope.blocks.add(key as BlockKey)
        result.value.keys = []
        return result
      case 'listXattr':
        if (store.exports.find(scope.export)?.squash !== 'none')
          result.value.names = result.value.names.filter(name => !isTrusted(name))
        return result
      default:
        return result
    }
  }

  /** Whether the session sees what is in the directory. */
  sees(scope: Scope, directory: Ino): boolean {
    const row = this.#turn.store.exports.find(scope.export)
    return row !== undefined && this.#subtrees.shows(row.ino, scope.session, directory)
  }

  /** Whether the session may keep a write lease on it: its changes are judged one by one, except of a file's data. */
  mayBuffer(scope: Scope, ino: Ino): boolean {
    const { exports, inodes } = this.#turn.store
    const row = exports.find(scope.export)
    if (row === undefined || row.readOnly) return false
    const inode = row.squash === 'none' ? undefined : inodes.find(ino)
    return inode === undefined || !isDirectory(inode.mode)
  }

  #rulesOf(scope: Scope): ExportRow {
    const row = this.#turn.store.exports.find(scope.export)
    if (row === undefined) throw new FsError('ESTALE', `There is no export ${scope.export} any more`)
    return row
  }

  #access(rules: ExportRow): Access {
    return new Access(this.#turn.store, rules)
  }

  /** False where it is only about what the session has no more. Throws ESTALE or ENOENT. */
  #namesOnlyWhatIsThere(scope: Scope, rules: ExportRow, op: Op): boolean {
    // Its own lock a session can always give up.
    if (op.$case === 'setLock' && op.value.lock?.kind === LockKind.LOCK_KIND_UNLOCK) return true
    const values = op.value as unknown as Readonly<Record<string, bigint>>
    const named: Readonly<Record<string, Naming>> = namedInodes[op.$case]
    for (const [field, naming] of Object.entries(named)) {
      const ino = values[field] ?? 0n
      if (naming !== 'file' && naming !== 'directory' && naming !== 'held') continue
      if (this.#subtrees.shows(rules.ino, scope.session, ino)) {
        if (naming === 'held' || this.#hasWay(rules, ino)) continue
        throw new FsError('EACCES', `Inode ${ino}: no way leads there for this export`)
      }
      if (naming === 'held') return false
      if (naming === 'file') throw new FsError('ESTALE', `Inode ${ino} is gone`)
      throw new FsError('ENOENT', `Directory ${ino} is gone`)
    }
    return true
  }

  /** Whoever has not the right to go there does not get there by a number. */
  #hasWay(rules: ExportRow, ino: bigint): boolean {
    if (rules.squash === 'none') return true
    const { inodes, exports } = this.#turn.store
    const inode = ino === rules.ino ? undefined : inodes.find(ino)
    if (inode === undefined || inode.nlink === 0) return true
    const access = this.#access(rules)
    const parents = isDirectory(inode.mode) ? [inode.parent] : exports.parentsOf(ino)
    const leads = (from: Ino): boolean => {
      for (let at: Ino | undefined = from; at !== undefined; ) {
        const directory = inodes.find(at)
        if (directory === undefined || !access.may(directory, want.execute)) return false
        if (at === rules.ino) return true
        at = directory.parent === at ? undefined : directory.parent
      }
      return false
    }
    return parents.some(leads)
  }

  /** Without what only helps, or is claimed, and is not to be seen. */
  #veiled(scope: Scope, rules: ExportRow, op: Op): Op {
    const { blocks } = this.#turn.store
    const isSeen = (ino: bigint): boolean => this.#subtrees.shows(rules.ino, scope.session, ino)
    switch (op.$case) {
      case 'plan':
        return {
          $case: 'plan',
          value: {
            ...op.value,
            ino: isSeen(op.value.ino) ? op.value.ino : 0n,
            blocks: op.value.blocks.map(block => ({ ...block, ino: isSeen(block.ino) ? block.ino : 0n })),
          },
        }
      case 'getExtentsOf': {
        const inos = op.value.inos.filter(ino => isSeen(ino) && this.#hasWay(rules, ino))
        return { $case: 'getExtentsOf', value: { inos } }
      }
      case 'readTree': {
        const inos = op.value.inos.filter(ino => isSeen(ino) && this.#hasWay(rules, ino))
        return { $case: 'readTree', value: { ...op.value, inos } }
      }
      case 'commit': {
        const { blocks: known } = scope
        const stored = op.value.blocks.map(block =>
          block.key === 0n ? block : { ...block, key: known.keyOf(block.key) },
        )
        return { $case: 'commit', value: { ...op.value, blocks: stored } }
      }
      case 'reclaim':
        return {
          $case: 'reclaim',
          value: {
            ...op.value,
            leases: op.value.leases.filter(({ ino }) => isSeen(ino)),
            locks: op.value.locks.filter(({ ino }) => isSeen(ino)),
          },
        }
      case 'locate': {
        const isKnown = (id: Uint8Array): boolean => {
          const key = blocks.owner(id)?.key
          return key !== undefined && scope.blocks.has(key)
        }
        return { $case: 'locate', value: { ids: op.value.ids.filter(isKnown) } }
      }
      case 'reportDamage': {
        const key = blocks.owner(op.value.id)?.key
        return key !== undefined && scope.blocks.has(key) ? op : { $case: 'barrier', value: {} }
      }
      default:
        return op
    }
  }

  #note(scope: Scope, op: Op, why: FsError): void {
    const { out, now } = this.#turn
    scope.denied += 1
    if (now - scope.loggedMs < loggedEveryMs) return
    out.log('warn', 'Denied', {
      ...{ audit: true, session: scope.session, export: scope.export, call: op.$case, why: why.message },
      ...(scope.denied > 1 ? { before: scope.denied - 1 } : {}),
    })
    scope.denied = 0
    scope.loggedMs = now
  }
}

/** Keys are given in order: those of blocks that were there before would tell that they were. */
function noteShown(scope: Scope, blocks: readonly BlockInfo[]): void {
  for (const block of blocks) {
    scope.blocks.add(block.key as BlockKey)
    block.key = 0n
  }
}

/** Throws EROFS or EPERM for what is allowed to nobody there. */
function checkRules(rules: ExportRow, op: Op, isFolder: (ino: bigint) => boolean): void {
  if (rules.readOnly && changes(op)) throw new FsError('EROFS', 'The export is read-only')
  if (!rules.devices && op.$case === 'create' && isDevice(op.value.mode, op.value.rdev))
    throw new FsError('EPERM', 'The export has no device nodes')
  if (!rules.setuid && setsPrivileges(op, isFolder))
    throw new FsError('EPERM', 'The export has no setuid, setgid or capabilities')
}

/** Also what only prepares a change. */
function changes(op: Op): boolean {
  if (isCommand(op)) return op.$case !== 'closeOrphan'
  if (op.$case === 'acquire') return op.value.kind === LeaseKind.LEASE_KIND_WRITE
  return op.$case === 'plan' || op.$case === 'reserveSpace' || op.$case === 'reserveInos'
}

/** Setgid of a directory is no privilege. */
function setsPrivileges(op: Op, isFolder: (ino: bigint) => boolean): boolean {
  switch (op.$case) {
    case 'create':
      return (op.value.mode & (isDirectory(op.value.mode) ? S_ISUID : S_ISUID | S_ISGID)) !== 0
    case 'setAttr':
      return ((op.value.mode ?? 0) & (isFolder(op.value.ino) ? S_ISUID : S_ISUID | S_ISGID)) !== 0
    case 'setXattr':
      return Buffer.compare(capabilityName, op.value.name) === 0
    default:
      return false
  }
}
