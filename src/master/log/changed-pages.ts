/** What commits have changed in the database's file since the last look. */
export interface ChangedPages {
  readonly pageBytes: number
  /** Of the whole database. */
  readonly databasePages: number
  /** There were changes before these that nobody saw. */
  readonly missed: boolean
  /** Each page once, as it is now, in the order of their numbers. */
  readonly pages: readonly { readonly number: number; readonly data: Uint8Array }[]
}

/**
 * Where the changes of all commits come from, whatever code made them. Looked at between two transactions, on the
 * thread that commits.
 */
export interface PageSource {
  /** Since the last look, or since it was made; undefined if nothing changed. */
  take(): ChangedPages | undefined
  /** Pages that wait in SQLite's own log. */
  readonly frames?: number
}
