/**
 * The master's streams and calls with their frames left encoded: the engine decodes them where a
 * malformed one can be judged, and bytes cross to its thread cheaply.
 */
import type { CallDef, Codec, StreamDef } from '../../core/network.ts'
import {
  adminActivity,
  adminBackup,
  adminBrowse,
  adminConfirmRestore,
  adminCreateExport,
  adminDamaged,
  adminEvictMount,
  adminFsck,
  adminInfo,
  adminLabelNode,
  adminLeases,
  adminListBlocks,
  adminListExports,
  adminLocks,
  adminReadBackup,
  adminRebalance,
  adminReleaseIdentity,
  adminRemovalStatus,
  adminRemoveExport,
  adminRemoveNode,
  adminRepairStatus,
  adminRestoreStatus,
  adminScrub,
  adminSetCopies,
  adminSetDraining,
  adminSetExport,
  adminStatus,
  nodesAttach,
  sessionAttach,
} from '../../wire/services.ts'
import type { AdminMethod } from '../engine/io.ts'

const asBytes: Codec<Uint8Array> = { encode: bytes => bytes, decode: bytes => bytes }

export type RawStream = StreamDef<Uint8Array, Uint8Array>
export type RawCall = CallDef<Uint8Array, Uint8Array>

const stream = ({ path }: { readonly path: string }): RawStream => ({ path, up: asBytes, down: asBytes })
const call = ({ path }: { readonly path: string }): RawCall => ({ path, request: asBytes, response: asBytes })

export const rawSessionAttach = stream(sessionAttach)
export const rawNodesAttach = stream(nodesAttach)

export const rawAdminCalls: Readonly<Record<AdminMethod, RawCall>> = {
  status: call(adminStatus),
  info: call(adminInfo),
  setCopies: call(adminSetCopies),
  fsck: call(adminFsck),
  listBlocks: call(adminListBlocks),
  backup: call(adminBackup),
  readBackup: call(adminReadBackup),
  restoreStatus: call(adminRestoreStatus),
  confirmRestore: call(adminConfirmRestore),
  setDraining: call(adminSetDraining),
  removeNode: call(adminRemoveNode),
  repairStatus: call(adminRepairStatus),
  rebalance: call(adminRebalance),
  scrub: call(adminScrub),
  damaged: call(adminDamaged),
  evictMount: call(adminEvictMount),
  labelNode: call(adminLabelNode),
  locks: call(adminLocks),
  leases: call(adminLeases),
  removalStatus: call(adminRemovalStatus),
  activity: call(adminActivity),
  browse: call(adminBrowse),
  createExport: call(adminCreateExport),
  setExport: call(adminSetExport),
  removeExport: call(adminRemoveExport),
  listExports: call(adminListExports),
  releaseIdentity: call(adminReleaseIdentity),
}
