import type { LeaseTable } from '../leases/lease-table.ts'
import type { NodeRegistry } from '../nodes/node-registry.ts'
import type { SafeMode } from '../nodes/safe-mode.ts'
import type { Space } from '../placement/space.ts'
import type { Repair } from '../repair/repair.ts'
import type { LockCalls } from '../sessions/lock-calls.ts'
import type { SessionRegistry } from '../sessions/session-registry.ts'
import type { Drains } from './drain.ts'

/** What the state of a cluster is read from. */
export interface StatusParts {
  readonly startedMs: number
  /** Version of this program. */
  readonly program: string
  readonly nodes: NodeRegistry
  readonly sessions: SessionRegistry
  readonly leases: LeaseTable
  readonly locks: LockCalls
  readonly space: Space
  readonly repair: Repair
  readonly safeMode: SafeMode
  readonly drains: Drains
}
