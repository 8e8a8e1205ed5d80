import type { OperationTime } from '../core/operation-times.ts'
import type {
  BrowseReply,
  BrowseRequest,
  InfoReply,
  RebalanceReply,
  RepairStatusReply,
  StatusReply,
} from '../wire/gen/cairn/v1/admin.ts'

/** What the console may ask of the master: nothing that changes anything. */
export interface ClusterView {
  measure(): Promise<Measured>
  repairStatus(): Promise<RepairStatusReply>
  rebalanceStatus(): Promise<RebalanceReply>
  browse(request: BrowseRequest): Promise<BrowseReply>
  /** Extents of an inode from an offset on. */
  extents(ino: bigint, offset: bigint, limit: number): Promise<InfoReply>
  /** Why it is not well, and what to do. */
  findings(status: StatusReply): Finding[]
}

export interface Measured {
  readonly status: StatusReply
  /** Calls of mounts since the master started. */
  readonly calls: readonly OperationTime[]
  /** Steps of the engine, with the sync of its database. */
  readonly steps: readonly OperationTime[]
}

export interface Finding {
  readonly text: string
  readonly severity: 'down' | 'degraded' | 'note'
  readonly steps: readonly string[]
}
