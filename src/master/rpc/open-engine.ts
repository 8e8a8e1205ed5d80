import { assert } from '../../core/assert.ts'
import type { Checksums } from '../../core/checksum.ts'
import { MasterEngine } from '../engine/master-engine.ts'
import type { EngineInput, EngineOutput } from '../engine/io.ts'
import type { EngineSettings } from '../engine/settings.ts'
import type { Format } from '../store/format.ts'
import { openDatabase } from '../store/open-database.ts'
import { Store } from '../store/store.ts'

/** What the engine's thread is started with: plain values. */
export interface EngineData {
  /** File of the database; made if absent. */
  readonly database: string
  /** With what an empty database is formatted. The times and ids in it come from the caller's Env. */
  readonly format: Format
  /** Version of the program. */
  readonly program: string
  readonly settings?: Partial<EngineSettings>
}

/** The engine over its database, as the handler of a lane: each item is a batch for one step. */
export interface EngineHandler {
  run(batch: readonly (readonly EngineInput[])[]): EngineOutput[][]
  close(): void
}

/** Throws UsageError when the database cannot be used. */
export function openEngine(
  { database, format, program, settings }: EngineData,
  checksums: Checksums,
): EngineHandler {
  const db = openDatabase(database)
  const store = Store.isEmpty(db) ? Store.format(db, format) : Store.open(db)
  return engineHandler(store, program, checksums, settings)
}

/** As openEngine, over a store that is open; the handler closes it. */
export function engineHandler(
  store: Store,
  program: string,
  checksums: Checksums,
  settings: Partial<EngineSettings> = {},
): EngineHandler {
  let engine: MasterEngine | undefined
  const step = (inputs: readonly EngineInput[]): EngineOutput[] => {
    const [clock] = inputs
    assert(clock?.kind === 'clock', 'a batch begins with its time')
    engine ??= new MasterEngine(store, clock, { program, settings, hash: bytes => checksums.xxh64(bytes) })
    return engine.step(inputs)
  }
  return { run: batch => batch.map(step), close: () => store.close() }
}
