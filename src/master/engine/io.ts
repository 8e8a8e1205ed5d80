/**
 * What goes into the engine and comes out of it. Plain values that can be cloned: the engine runs in
 * a Worker. Frames stay encoded, since bytes clone cheaply, and are decoded where a malformed one
 * can be judged.
 */
import type { ErrnoName } from '../../core/errors.ts'
import type { BackupState } from '../backup/backup-state.ts'
import type { Integrity } from '../fsck/integrity.ts'
import type { Logged, LogState } from '../log/log-state.ts'
import type { OperationTime } from '../../core/operation-times.ts'

export type ConnectionKind = 'session' | 'node'

export type AdminMethod =
  | 'status'
  | 'info'
  | 'setCopies'
  | 'fsck'
  | 'listBlocks'
  | 'backup'
  | 'readBackup'
  | 'restoreStatus'
  | 'confirmRestore'
  | 'setDraining'
  | 'removeNode'
  | 'repairStatus'
  | 'rebalance'
  | 'scrub'
  | 'damaged'
  | 'evictMount'
  | 'labelNode'
  | 'locks'
  | 'leases'
  | 'removalStatus'
  | 'activity'
  | 'browse'
  | 'createExport'
  | 'setExport'
  | 'removeExport'
  | 'listExports'
  | 'releaseIdentity'

export type EngineInput =
  /** The time of what follows; first in every batch. `random`: 32 fresh unpredictable bytes. */
  | {
      readonly kind: 'clock'
      /** Milliseconds of a clock that never goes back. */
      readonly now: number
      /** Wall clock, ns. */
      readonly wall: bigint
      readonly random: Uint8Array
      /** Resident memory of the process, bytes, for status. */
      readonly rssBytes: number
      /** The database's disk is nearly full: what is left is for removals, and for what programs were told is done. */
      readonly diskFull: boolean
      /** Of that, too, nearly nothing is left: it is for removals alone. */
      readonly diskSpent?: boolean
      /** What chunkservers have of the database; undefined where no log is kept. */
      readonly log?: LogState | undefined
      /** Connections that were heard and of which frames have to wait for a later step. */
      readonly waiting?: readonly number[]
    }
  | {
      readonly kind: 'opened'
      readonly connection: number
      readonly of: ConnectionKind
      readonly peer: string
      /** Whose certificate it came with; undefined without TLS. */
      readonly identity?: string | undefined
    }
  | { readonly kind: 'frame'; readonly connection: number; readonly bytes: Uint8Array }
  | { readonly kind: 'closed'; readonly connection: number }
  | {
      readonly kind: 'admin'
      readonly call: number
      readonly method: AdminMethod
      readonly bytes: Uint8Array
    }
  /** With TLS: the ids of all identities that are good now, and the exports that the tokens of some were for. */
  | {
      readonly kind: 'identities'
      readonly good: readonly string[]
      readonly exports?: ReadonlyMap<string, string>
    }
  /** Copies of the database came or went, or could not be taken. */
  | { readonly kind: 'backups'; readonly state: BackupState }
  /** The database was read as a whole, or is going to be. */
  | { readonly kind: 'integrity'; readonly state: Integrity }
  /** What the engine did since it started is asked for. */
  | { readonly kind: 'measure'; readonly call: number }
  /** Time for expiry and background work. */
  | { readonly kind: 'tick' }
  /** Everything that was committed is to be told now. */
  | { readonly kind: 'flush' }

/** For metrics. */
export interface EngineMeasures {
  /** Calls of mounts that were executed, from their coming to their answer, which leaves when the step is stored. */
  readonly calls: readonly OperationTime[]
  /** Calls that wait for a lease or a lock. */
  readonly waiting: number
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export type EngineOutput =
  | { readonly kind: 'frame'; readonly connection: number; readonly bytes: Uint8Array }
  /** From now on the front may answer this connection's heartbeats. */
  | { readonly kind: 'welcomed'; readonly connection: number }
  /** After the frames before it. */
  | {
      readonly kind: 'close'
      readonly connection: number
      readonly code: ErrnoName | undefined
      readonly message: string
    }
  | { readonly kind: 'answer'; readonly call: number; readonly bytes: Uint8Array }
  | { readonly kind: 'measured'; readonly call: number; readonly measures: EngineMeasures }
  | { readonly kind: 'failure'; readonly call: number; readonly code: ErrnoName; readonly message: string }
  | {
      readonly kind: 'log'
      readonly level: LogLevel
      readonly message: string
      readonly fields: Readonly<Record<string, string | number | bigint | boolean>>
    }
  /** What was committed since the last time, for the log on the chunkservers. */
  | { readonly kind: 'logged'; readonly logged: Logged }
  /**
   * Cluster time never falls below this; the last of every step. `wakeMs`: when to tick next. `left`: so many of the last
   * inputs were not executed, since there is much to answer by then; they are to be given again.
   */
  | { readonly kind: 'state'; readonly time: bigint; readonly wakeMs: number; readonly left: number }
