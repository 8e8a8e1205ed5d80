import { heartbeatMs, heartbeatsPerLease, leaseMs } from '../../core/limits.ts'
import { slowMsDefault } from '../../core/request-log.ts'
import { GiB, hour, MiB, minute, second } from '../../core/units.ts'

/** Times and bounds of the engine, in milliseconds where nothing else is said. Tests shorten them. */
export interface EngineSettings {
  /** A session silent for so long is dead. */
  readonly leaseMs: number
  /** Added at the master, so that a lease ends at its holder first even if clocks run unevenly. */
  readonly leaseMarginMs: number
  readonly heartbeatMs: number
  /** A node silent for so long is down. */
  readonly nodeSilentMs: number
  /** A node down for so long has lost its copies, as far as repair is concerned. */
  readonly repairDelayMs: number
  /** The same for a node that said goodbye: it was stopped in order, and is expected back. */
  readonly maintenanceMs: number
  /** After a start nothing is repaired or removed for so long, unless all known nodes report earlier. */
  readonly safeModeMs: number
  /** A condemned block stays so long, for readers that still know its name and for backups. */
  readonly condemnedMs: number
  /** The same when space runs out. */
  readonly condemnedShortMs: number
  /** Validity of grants, and so of receipts: an unreferenced instance older than this cannot be committed. */
  readonly grantMs: number
  /** Validity of a token to read a block. */
  readonly readTokenMs: number
  /** How long tokens are made with one key. */
  readonly readKeyMs: number
  /** A pin holds at least so long and at most twice. */
  readonly pinMs: number
  /** Between two checks of a node's whole inventory. */
  readonly inventoryMs: number
  /** Bytes of copies under way to and from one node; a small one counts as `copyBytesMin` (repair/copy-budget.ts). */
  readonly copyBytesPerNode: number
  /** Bytes of copies under way in the whole cluster. */
  readonly copyBytesPerCluster: number
  /** The same for those that only rebalance. */
  readonly balanceBytesPerCluster: number
  /** A copy order without an answer is given up. */
  readonly copyMs: number
  /** Rows that background work may touch in one tick. */
  readonly rowsPerTick: number
  /** Most leases of one session; beyond, the oldest are recalled. */
  readonly leasesPerSession: number
  /** Most sessions of one identity; without TLS, of all who have none. */
  readonly sessionsPerIdentity: number
  /** Most locks that one session holds and waits for. */
  readonly locksPerSession: number
  /** Most locks that all sessions of one identity hold and wait for. */
  readonly locksPerIdentity: number
  /** Most leases of all sessions of one identity; beyond, the oldest are recalled. */
  readonly leasesPerIdentity: number
  /** Most removed files that all sessions of one identity hold open; without TLS, of one session. */
  readonly orphansPerIdentity: number
  /** Most leases of all sessions; beyond, the oldest of those with more than their share are recalled. */
  readonly leases: number
  /** It serves without TLS where other machines reach it. */
  readonly insecure: boolean
  /** What takes a program longer is slow, and calls that are a part of it are logged. */
  readonly slowMs: number
}

export const defaultSettings: EngineSettings = {
  leaseMs,
  leaseMarginMs: 1 * second,
  heartbeatMs,
  nodeSilentMs: 15 * second,
  repairDelayMs: 1 * minute,
  maintenanceMs: 3 * minute,
  safeModeMs: 1 * minute,
  condemnedMs: 2 * hour,
  condemnedShortMs: 1 * second,
  grantMs: 10 * minute,
  readTokenMs: 10 * minute,
  readKeyMs: 1 * hour,
  pinMs: 2 * minute,
  inventoryMs: 1 * hour,
  copyBytesPerNode: 64 * MiB,
  copyBytesPerCluster: 1 * GiB,
  balanceBytesPerCluster: 16 * MiB,
  copyMs: 2 * minute,
  rowsPerTick: 2000,
  leasesPerSession: 1_000_000,
  sessionsPerIdentity: 1000,
  locksPerSession: 100_000,
  locksPerIdentity: 1_000_000,
  leasesPerIdentity: 2_000_000,
  orphansPerIdentity: 65_536,
  leases: 4_000_000,
  insecure: false,
  slowMs: slowMsDefault,
}

/** A lease time, and heartbeats as often as it needs them. */
export const leaseSettings = (ms: number): Partial<EngineSettings> => ({
  leaseMs: ms,
  heartbeatMs: Math.min(heartbeatMs, ms / heartbeatsPerLease),
})
