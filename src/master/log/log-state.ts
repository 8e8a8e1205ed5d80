/** What chunkservers have of the database, for status. */
export interface LogState {
  /** So many chunkservers are to have it. */
  readonly wanted: number
  /** For so long changes were not on so many. */
  readonly lagMs: number
  /** Cluster time up to which all changes are on so many, ns; 0: not since the master started. */
  readonly covered: bigint
  readonly queuedBytes: number
  readonly loggedBytes: number
  readonly followers: readonly LogFollowerState[]
  /** Why no base could be made; empty if it could. */
  readonly failing: string
}

export interface LogFollowerState {
  readonly node: bigint
  readonly address: string
  readonly state: 'away' | 'base' | 'log'
  /** What it has can be restored from. */
  readonly whole: boolean
  readonly behindBytes: number
  readonly reason: string
}

/** A node as far as the log is concerned. */
export interface LogNode {
  readonly node: bigint
  readonly address: string
  readonly zone: string
  readonly host: string
  /** Shared by master and node alone. */
  readonly key: Uint8Array
  readonly isUp: boolean
  /** It takes what is new. */
  readonly suits: boolean
}

/** What the engine tells of its commits, some times a second. */
export interface Logged {
  readonly cluster: Uint8Array
  readonly incarnation: bigint
  /** Of the last record. */
  readonly sequence: bigint
  /** Cluster time of it, or of now if nothing changed since. */
  readonly time: bigint
  /** Encoded; the last one ends the commits. */
  readonly records: readonly Uint8Array[]
  readonly nodes: readonly LogNode[]
}
