/** The copies of the database, for status. */
export interface BackupState {
  readonly everyMs: number
  /** Wall clock of the newest copy, ns; 0 if there is none. */
  readonly taken: bigint
  readonly bytes: number
  readonly count: number
  /** Bytes of all copies. */
  readonly allBytes: number
  /** Why the last attempt failed; empty if it did not. */
  readonly failing: string
  /** What was found wrong in the newest copy of this process's life. */
  readonly problems: number
}
