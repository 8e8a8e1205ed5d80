import type { BackupState } from '../backup/backup-state.ts'
import type { Integrity } from '../fsck/integrity.ts'
import type { LogState } from '../log/log-state.ts'
import type { Store } from '../store/store.ts'
import type { Entropy } from './entropy.ts'
import type { Outbox } from './outbox.ts'
import type { EngineSettings } from './settings.ts'

/** What every part of the engine works with: the same object for its life, its times set by each batch. */
export interface Turn {
  readonly store: Store
  readonly settings: EngineSettings
  readonly out: Outbox
  readonly entropy: Entropy
  /** Milliseconds of a clock that never goes back. */
  now: number
  /** Cluster time, ns: never goes back while the master runs. */
  time: bigint
  rssBytes: number
  /** Undefined where nobody takes copies. */
  backups: BackupState | undefined
  /** Undefined where nobody reads the whole database. */
  integrity: Integrity | undefined
  /** Undefined where no log is kept on chunkservers. */
  log: LogState | undefined
  /** Only what makes room, or was promised to programs, is executed. */
  diskFull: boolean
  /** Only what makes room is executed. */
  diskSpent: boolean
}
