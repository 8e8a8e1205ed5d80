/**
 * The master's database: the only authority over names, extents, references and placement. All of
 * it is authoritative; nothing can be rebuilt but replicas (from the nodes' inventories).
 *
 * Transactions belong to the caller: `begin`, any number of commands each in a `savepoint`, then
 * `commit`, after which (and only then) replies may leave. A crash leaves the last commit.
 */
import type { Database } from 'better-sqlite3'
import { assert } from '../../core/assert.ts'
import { S_IFDIR } from '../../core/attr.ts'
import { UsageError, messageOf } from '../../core/errors.ts'
import { rootIno } from '../../core/ids.ts'
import { MiB } from '../../core/units.ts'
import { isBackup } from './backup-stamp.ts'
import { BadCopies } from './bad-copies.ts'
import { Blocks } from './blocks.ts'
import { Counters } from './counters.ts'
import { Dirents } from './dirents.ts'
import { Doomed } from './doomed.ts'
import { Exports } from './exports.ts'
import { Extents } from './extents.ts'
import { applicationId, type Format, FormatTable } from './format.ts'
import { Goals } from './goals.ts'
import { Inodes } from './inodes.ts'
import { InoRanges } from './ino-ranges.ts'
import { migrate } from './migrate.ts'
import { NodeLabels } from './node-labels.ts'
import { Nodes } from './nodes.ts'
import { Orphans } from './orphans.ts'
import { Replicas } from './replicas.ts'
import { Replies } from './replies.ts'
import { Restores } from './restores.ts'
import { Sessions } from './sessions.ts'
import { Strays } from './strays.ts'
import { Switches } from './switches.ts'
import { Symlinks } from './symlinks.ts'
import { Xattrs } from './xattrs.ts'

const schema = [
  FormatTable,
  Counters,
  Inodes,
  InoRanges,
  Dirents,
  Symlinks,
  Xattrs,
  Extents,
  Doomed,
  Goals,
  Blocks,
  Replicas,
  Orphans,
  Replies,
  Sessions,
  Nodes,
  Strays,
  Restores,
  BadCopies,
  Switches,
  NodeLabels,
  Exports,
]
  .map(table => table.schema)
  .concat(Exports.domainColumns)
  .join('\n')

/**
 * Page cache: the largest part of the master's memory. What does not fit is still in the kernel's
 * cache, two microseconds away.
 */
const cacheBytes = 12 * MiB
/** A database up to this size is checked page by page, indexes included, when it is opened (some tenths of a second). */
export const quickCheckBytesMax = 32 * MiB
/** Indexes are compared with their tables up to this size: it reads at random, which takes long beyond the cache. */
export const integrityCheckBytesMax = 64 * MiB

/** No command touches many more rows than this; what is more becomes work in steps. */
const rowsPerCommand = 10_000

export interface StoreOptions {
  /** Tests use a small number, to see the steps. */
  readonly rowsPerCommand?: number
  /** How a damaged database is restored, for the operator. */
  readonly restoreWith?: string
  /** Indexes that do not say what their tables say are no reason to refuse it: they can be made anew. */
  readonly toRepair?: boolean
}

export class Store implements Disposable {
  readonly db: Database
  readonly rowsPerCommand: number
  readonly format: FormatTable
  readonly counters: Counters
  readonly inodes: Inodes
  readonly inoRanges: InoRanges
  readonly dirents: Dirents
  readonly symlinks: Symlinks
  readonly xattrs: Xattrs
  readonly extents: Extents
  readonly doomed: Doomed
  readonly goals: Goals
  readonly blocks: Blocks
  readonly replicas: Replicas
  readonly orphans: Orphans
  readonly replies: Replies
  readonly sessions: Sessions
  readonly nodes: Nodes
  readonly strays: Strays
  readonly restores: Restores
  readonly badCopies: BadCopies
  readonly switches: Switches
  readonly nodeLabels: NodeLabels
  readonly exports: Exports

  readonly #begin
  readonly #commit
  readonly #rollback
  readonly #savepoint
  readonly #release
  readonly #rollbackTo
  #totalsAtBegin

  /**
   * Opens a formatted database and owns it from then on. Throws UsageError if it is damaged, of a
   * newer version or not a master's. That no other process has it open is the caller's care.
   */
  static open(db: Database, options: StoreOptions = {}): Store {
    return refusing(
      db,
      () => {
        configure(db)
        check(db, options)
        migrate(db)
        emptyLog(db)
        return new Store(db, options)
      },
      options,
    )
  }

  /** The state as of the last commit, by a connection that only reads and owns the result. */
  static snapshot(db: Database): Store {
    return refusing(db, () => {
      db.pragma('temp_store = FILE')
      db.exec('BEGIN')
      return new Store(db, {})
    })
  }

  /** Makes a cluster's empty namespace in an empty database: the root directory, owned by root. */
  static format(db: Database, format: Format, options: StoreOptions = {}): Store {
    return refusing(db, () => {
      configure(db)
      if (!isEmpty(db)) throw new UsageError('The database is not empty: it will not be formatted again')
      db.pragma(`application_id = ${applicationId}`)
      db.exec('BEGIN IMMEDIATE')
      db.exec(schema)
      FormatTable.write(db, format)
      const store = new Store(db, options)
      store.#addRoot(format)
      store.counters.write()
      db.exec('COMMIT')
      store.counters.written()
      emptyLog(db)
      return store
    })
  }

  /** Nothing has been written to it: neither a cluster nor anything else. */
  static isEmpty(db: Database, options: StoreOptions = {}): boolean {
    return refusing(db, () => isEmpty(db), options)
  }

  private constructor(db: Database, options: StoreOptions) {
    this.db = db
    this.rowsPerCommand = options.rowsPerCommand ?? rowsPerCommand
    this.format = new FormatTable(db)
    this.counters = new Counters(db)
    this.inodes = new Inodes(db, this.counters)
    this.inoRanges = new InoRanges(db, this.counters)
    this.dirents = new Dirents(db, this.counters)
    this.symlinks = new Symlinks(db)
    this.xattrs = new Xattrs(db)
    this.extents = new Extents(db)
    this.doomed = new Doomed(db)
    this.goals = new Goals(db)
    this.blocks = new Blocks(db, this.counters)
    this.replicas = new Replicas(db, this.blocks)
    this.orphans = new Orphans(db)
    this.replies = new Replies(db)
    this.sessions = new Sessions(db, this.counters)
    this.nodes = new Nodes(db, this.counters)
    this.strays = new Strays(db)
    this.restores = new Restores(db)
    this.badCopies = new BadCopies(db)
    this.switches = new Switches(db)
    this.nodeLabels = new NodeLabels(db)
    this.exports = new Exports(db)
    this.#begin = db.prepare('BEGIN IMMEDIATE')
    this.#commit = db.prepare('COMMIT')
    this.#rollback = db.prepare('ROLLBACK')
    this.#savepoint = db.prepare('SAVEPOINT command')
    this.#release = db.prepare('RELEASE command')
    this.#rollbackTo = db.prepare('ROLLBACK TO command')
    this.#totalsAtBegin = this.counters.mark()
  }

  /** Begins a transaction for many commands. */
  begin(): void {
    this.#begin.run()
    this.#totalsAtBegin = this.counters.mark()
  }

  /** Everything since `begin` is on the disk when this returns. After a throw: `rollback`. */
  commit(): void {
    this.inoRanges.write()
    this.counters.write()
    this.#commit.run()
    this.counters.written()
  }

  /** Nothing since `begin` happened. Ids that were issued are not issued again. */
  rollback(): void {
    if (this.db.inTransaction) this.#rollback.run()
    this.counters.restore(this.#totalsAtBegin)
  }

  /**
   * Whether the transaction can go on after this was thrown in it: SQLite gives up the whole of it on some errors
   * (full disk, I/O), and nothing can be relied upon in a database that is damaged.
   */
  canGoOn(thrown: unknown): boolean {
    return this.inTransaction && !isDamage(thrown)
  }

  get inTransaction(): boolean {
    return this.db.inTransaction
  }

  /** Runs one command: if it throws, nothing of it happened, and what came before in the transaction stays. */
  savepoint<T>(command: () => T): T {
    assert(this.db.inTransaction, 'a command runs in a transaction')
    const totals = this.counters.mark()
    this.#savepoint.run()
    try {
      const result = command()
      this.#release.run()
      return result
    } catch (thrown) {
      // SQLite itself ends the transaction on some errors (full disk, I/O): then there is nothing to go back to.
      if (this.inTransaction) this.#undoCommand()
      this.counters.restore(totals)
      throw thrown
    }
  }

  /** From now on only `moveLog` moves SQLite's log into the database, so that somebody can read it before. */
  moveLogByHand(): void {
    this.db.pragma('wal_autocheckpoint = 0')
  }

  /** As far as no reader is in the way, and there is room: what stays is moved the next time. */
  moveLog(): void {
    withoutRoom(() => this.db.pragma('wal_checkpoint(PASSIVE)'))
  }

  /** One transaction for one piece of work. */
  transaction<T>(work: () => T): T {
    this.begin()
    try {
      const result = work()
      this.commit()
      return result
    } catch (thrown) {
      this.rollback()
      throw thrown
    }
  }

  close(): void {
    this.db.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #undoCommand(): void {
    this.#rollbackTo.run()
    this.#release.run()
  }

  #addRoot(format: Format): void {
    this.inodes.add({
      ino: rootIno,
      mode: S_IFDIR | 0o755,
      nlink: 2,
      uid: 0,
      gid: 0,
      rdev: 0,
      size: 4096,
      allocated: 0,
      atime: format.created,
      mtime: format.created,
      ctime: format.created,
      btime: format.created,
      parent: rootIno,
      copies: format.copies,
      flags: 0,
    })
  }
}

/**
 * One process writes to the database, which its lock on the folder sees to; normal locking lets fsck read
 * beside it. A database in memory keeps its own journal mode and ignores the rest.
 */
function configure(db: Database): void {
  db.pragma('journal_mode = WAL')
  db.pragma('synchronous = FULL')
  db.pragma('foreign_keys = OFF')
  // What fsck sorts does not fit memory.
  db.pragma('temp_store = FILE')
  db.pragma(`cache_size = -${cacheBytes / 1024}`)
  db.pragma('wal_autocheckpoint = 4000')
  db.pragma(`journal_size_limit = ${64 * MiB}`)
}

function isEmpty(db: Database): boolean {
  return db.prepare('SELECT 1 FROM sqlite_master LIMIT 1').get() === undefined
}

function check(db: Database, options: StoreOptions): void {
  if (db.pragma('application_id', { simple: true }) !== applicationId) {
    throw new UsageError('The file is not the database of a Cairn master')
  }
  if (isBackup(db))
    throw new UsageError(
      'The master database is a backup, which a master must not go on with: put it to use with cairn restore FILE --data DIR',
    )
  const found = isSmall(db) ? damageOf(db, options.toRepair !== true) : damageAtEnds(db)
  if (found !== undefined) throw damaged(found, options)
}

/** A database up to this size is checked page by page when it is opened; a larger one by `damageOf`, after it was. */
function isSmall(db: Database): boolean {
  return bytesOf(db) <= quickCheckBytesMax
}

function bytesOf(db: Database): number {
  const [pages, bytes] = ['page_count', 'page_size'].map(name => Number(db.pragma(name, { simple: true })))
  return (pages ?? 0) * (bytes ?? 0)
}

/**
 * What is wrong with the pages, all of which are read, and unless there are very many, with the indexes; undefined if
 * nothing is.
 */
export function damageOf(db: Database, indexes = true): string | undefined {
  try {
    // SQLite's words span lines: "*** in database main ***", then what it found.
    const how = indexes && bytesOf(db) <= integrityCheckBytesMax ? 'integrity_check(1)' : 'quick_check(1)'
    const found = String(db.pragma(how, { simple: true })).replaceAll(/\s+/g, ' ')
    return found === 'ok' ? undefined : found
  } catch (thrown) {
    if (isDamage(thrown)) return thrown.message
    throw thrown
  }
}

/** The same, but looks only at the way to the first and to the last row of each table: milliseconds. */
function damageAtEnds(db: Database): string | undefined {
  const tables = db
    .prepare<[], string>("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    .pluck()
    .all()
  const columns = db
    .prepare<[string], string>('SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk')
    .pluck()
  try {
    for (const table of tables)
      for (const order of ['ASC', 'DESC']) {
        const key = columns.all(table).map(column => `"${column}" ${order}`)
        db.prepare(`SELECT * FROM "${table}" ${key.length > 0 ? `ORDER BY ${key.join()}` : ''} LIMIT 1`).get()
      }
    return undefined
  } catch (thrown) {
    if (isDamage(thrown)) return thrown.message
    throw thrown
  }
}

/** Pages of the database, its indexes or its log are not what was written: its message is damaged()'s. */
export class DatabaseDamagedError extends UsageError {}

/** The one line that says what is wrong and what to do about it. */
export function damaged(why: string, { restoreWith }: StoreOptions, cause?: unknown): DatabaseDamagedError {
  const what = `The master database is damaged (${why})`
  const repair = /\bindex\b/.test(why) ? 'repair it with cairn fsck --repair DIR, or ' : ''
  const restore = `restore it ${restoreWith === undefined ? 'from a backup' : `with ${restoreWith}`}`
  return new DatabaseDamagedError(`${what}: ${repair}${restore}`, { cause })
}

/** SQLite would go on with its log without `lost` commits that were on the disk, which it does not find. */
export const logDamaged = (lost: number, options: StoreOptions): DatabaseDamagedError =>
  damaged(`its write-ahead log: at least ${lost} commits would be lost`, options)

/** SQLite found its file to be none, or broken. */
export function isDamage(thrown: unknown): thrown is Error {
  return thrown instanceof Error && 'code' in thrown && /^SQLITE_(CORRUPT|NOTADB)/.test(String(thrown.code))
}

/**
 * Moves what the log has into the file while there is room for that: on a disk that is full, pages which the file has
 * can be written again, and the log be begun anew, but neither can grow. Where it is full already, it stays as it is.
 */
function emptyLog(db: Database): void {
  withoutRoom(() => db.pragma('wal_checkpoint(TRUNCATE)'))
}

/** What a full disk may keep from being done. */
function withoutRoom(work: () => void): void {
  try {
    work()
  } catch (thrown) {
    if (!(thrown instanceof Error && 'code' in thrown && String(thrown.code).startsWith('SQLITE_FULL')))
      throw thrown
  }
}

/** Whatever keeps a database from being opened, as one line for the operator. */
function refusing<T>(db: Database, open: () => T, options: StoreOptions = {}): T {
  try {
    return open()
  } catch (thrown) {
    db.close()
    const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : ''
    if (code.startsWith('SQLITE_BUSY')) {
      throw new UsageError('The master database is in use by another process', { cause: thrown })
    }
    if (isDamage(thrown)) throw damaged(messageOf(thrown), options, thrown)
    if (/^SQLITE_(CANTOPEN|READONLY|IOERR|FULL|PERM)/.test(code)) {
      throw new UsageError(`The master database cannot be used: ${messageOf(thrown)}`, { cause: thrown })
    }
    throw thrown
  }
}
