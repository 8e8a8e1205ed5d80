import { assert, must } from '../../core/assert.ts'
import type { Checksums } from '../../core/checksum.ts'
import { FsError } from '../../core/errors.ts'
import { MasterEngine } from '../engine/master-engine.ts'
import type { EngineInput, EngineOutput } from '../engine/io.ts'
import type { EngineSettings } from '../engine/settings.ts'
import type { Format } from '../store/format.ts'
import type { PageSource } from '../log/changed-pages.ts'
import { CommitLog } from '../log/commit-log.ts'
import { lostCommits } from '../log/wal-damage.ts'
import { type ReadWal, WalReader } from '../log/wal-reader.ts'
import { openDatabase } from '../store/open-database.ts'
import { damaged, isDamage, logDamaged, Store } from '../store/store.ts'

/** What the engine's thread is started with: plain values. */
export interface EngineData {
  /** File of the database; made if absent. */
  readonly database: string
  /** With what an empty database is formatted. The times and ids in it come from the caller's Env. */
  readonly format: Format
  /** Version of the program. */
  readonly program: string
  readonly settings?: Partial<EngineSettings>
  /** How a damaged database is restored, for the operator. */
  readonly restoreWith?: string
  /** Whether what is committed is told, for the log on chunkservers. */
  readonly logged?: boolean
}

/** The engine over its database, as the handler of a lane: each item is a batch for one step. */
export interface EngineHandler {
  run(batch: readonly (readonly EngineInput[])[]): EngineOutput[][]
  close(): void
}

/** Throws UsageError when the database cannot be used. */
export function openEngine(
  { database, format, program, settings, restoreWith, logged }: EngineData,
  checksums: Checksums,
  {
    stopwatch,
    openWal,
    leftWal,
  }: {
    readonly stopwatch?: () => number
    readonly openWal?: (file: string) => ReadWal
    /** What a process that was killed has left; undefined where that is nothing. */
    readonly leftWal?: (file: string) => ReadWal | undefined
  } = {},
): EngineHandler {
  const options = restoreWith === undefined ? {} : { restoreWith }
  const left = leftWal?.(`${database}-wal`)
  const lost = left === undefined ? 0 : lostCommits(left)
  if (lost > 0) throw logDamaged(lost, options)
  const db = openDatabase(database)
  const store = Store.isEmpty(db, options) ? Store.format(db, format) : Store.open(db, options)
  const reopen = () => Store.open(openDatabase(database), options)
  const pages =
    logged === true && openWal !== undefined ? () => new WalReader(openWal(`${database}-wal`)) : undefined
  return engineHandler(store, program, checksums, { settings, reopen, stopwatch, pages, ...options })
}

export interface HandlerOptions {
  readonly settings?: Partial<EngineSettings> | undefined
  readonly reopen?: () => Store
  /** Milliseconds since any moment, for metrics alone. */
  readonly stopwatch?: (() => number) | undefined
  readonly restoreWith?: string
  /** What a new engine's commits change; undefined where nobody keeps a log. */
  readonly pages?: ((store: Store) => PageSource) | undefined
}

/**
 * As openEngine, over a store that is open; the handler closes it. When the disk is full to the last byte, a step
 * is undone and rejects with ENOSPC, and the next one begins with a new engine over what `reopen` gives, as after
 * a restart of the process: it knows no connections. A damaged database is a UsageError.
 */
export function engineHandler(
  store: Store,
  program: string,
  checksums: Checksums,
  { settings = {}, reopen, stopwatch, pages, ...options }: HandlerOptions = {},
): EngineHandler {
  let open: Store | undefined = store
  let engine: MasterEngine | undefined
  let log: CommitLog | undefined
  const step = (inputs: readonly EngineInput[]): EngineOutput[] => {
    const [clock] = inputs
    assert(clock?.kind === 'clock', 'a batch begins with its time')
    try {
      open ??= must(reopen, 'a way to open the store')()
      if (engine === undefined) {
        log = pages === undefined ? undefined : new CommitLog(open, checksums, pages(open))
        const hash = (bytes: Uint8Array) => checksums.xxh64(bytes)
        engine = new MasterEngine(open, clock, { program, settings, stopwatch, hash })
      }
      const outputs = engine.step(inputs)
      const flush = inputs.some(({ kind }) => kind === 'flush')
      const logged = log?.take(clock.now, engine.time, flush)
      if (logged === undefined) return outputs
      return [{ kind: 'logged', logged: { ...logged, nodes: engine.logNodes } }, ...outputs]
    } catch (thrown) {
      // Nothing of the step has left, and nobody goes on with a database that contradicts itself.
      if (isDamage(thrown)) throw damaged(thrown.message, options, thrown)
      if (reopen === undefined || !isDiskFull(thrown)) throw thrown
      engine = undefined
      log = undefined
      open?.close()
      open = undefined
      throw new FsError('ENOSPC', 'The disk of the master is full', { cause: thrown })
    }
  }
  return { run: batch => batch.map(step), close: () => open?.close() }
}

/** SQLite has no room for its log, its shared memory or its file; `cause`: while it was being opened. */
function isDiskFull(thrown: unknown): boolean {
  if (!(thrown instanceof Error)) return false
  const code = 'code' in thrown ? String(thrown.code) : ''
  return code === 'SQLITE_FULL' || code === 'SQLITE_IOERR_SHMSIZE' || isDiskFull(thrown.cause)
}
