/** Every stream and call of the wire, by the names of proto/cairn/v1. */
import { blocksDownCodec, blocksUpCodec } from './blocks-codec.ts'
import { messageCodec, stream, unary } from './codec.ts'
import * as admin from './gen/cairn/v1/admin.ts'
import * as log from './gen/cairn/v1/log.ts'
import * as identity from './gen/cairn/v1/identity.ts'
import { NodeDown, NodeUp } from './gen/cairn/v1/nodes.ts'
import { SessionDown, SessionUp } from './gen/cairn/v1/session.ts'

export const sessionAttach = stream(
  '/cairn.v1.Session/Attach',
  messageCodec(SessionUp, 'SessionUp'),
  messageCodec(SessionDown, 'SessionDown'),
)

export const nodesAttach = stream(
  '/cairn.v1.Nodes/Attach',
  messageCodec(NodeUp, 'NodeUp'),
  messageCodec(NodeDown, 'NodeDown'),
)

export const blocksOpen = stream('/cairn.v1.Blocks/Open', blocksUpCodec, blocksDownCodec)

export const logFollow = stream(
  '/cairn.v1.MasterLog/Follow',
  messageCodec(log.LogUp, 'LogUp'),
  messageCodec(log.LogDown, 'LogDown'),
)

export const logList = unary(
  '/cairn.v1.MasterLog/ListLog',
  messageCodec(log.ListLogRequest, 'ListLogRequest'),
  messageCodec(log.ListLogReply, 'ListLogReply'),
)

export const logRead = unary(
  '/cairn.v1.MasterLog/ReadLog',
  messageCodec(log.ReadLogRequest, 'ReadLogRequest'),
  messageCodec(log.ReadLogReply, 'ReadLogReply'),
)

export const adminStatus = unary(
  '/cairn.v1.Admin/Status',
  messageCodec(admin.StatusRequest, 'StatusRequest'),
  messageCodec(admin.StatusReply, 'StatusReply'),
)

export const adminInfo = unary(
  '/cairn.v1.Admin/Info',
  messageCodec(admin.InfoRequest, 'InfoRequest'),
  messageCodec(admin.InfoReply, 'InfoReply'),
)

export const adminSetCopies = unary(
  '/cairn.v1.Admin/SetCopies',
  messageCodec(admin.SetCopiesRequest, 'SetCopiesRequest'),
  messageCodec(admin.SetCopiesReply, 'SetCopiesReply'),
)

export const adminFsck = unary(
  '/cairn.v1.Admin/Fsck',
  messageCodec(admin.FsckRequest, 'FsckRequest'),
  messageCodec(admin.FsckReply, 'FsckReply'),
)

export const adminSetDraining = unary(
  '/cairn.v1.Admin/SetDraining',
  messageCodec(admin.SetDrainingRequest, 'SetDrainingRequest'),
  messageCodec(admin.SetDrainingReply, 'SetDrainingReply'),
)

export const adminRemoveNode = unary(
  '/cairn.v1.Admin/RemoveNode',
  messageCodec(admin.RemoveNodeRequest, 'RemoveNodeRequest'),
  messageCodec(admin.RemoveNodeReply, 'RemoveNodeReply'),
)

export const adminRepairStatus = unary(
  '/cairn.v1.Admin/RepairStatus',
  messageCodec(admin.RepairStatusRequest, 'RepairStatusRequest'),
  messageCodec(admin.RepairStatusReply, 'RepairStatusReply'),
)

export const adminRebalance = unary(
  '/cairn.v1.Admin/Rebalance',
  messageCodec(admin.RebalanceRequest, 'RebalanceRequest'),
  messageCodec(admin.RebalanceReply, 'RebalanceReply'),
)

export const adminScrub = unary(
  '/cairn.v1.Admin/Scrub',
  messageCodec(admin.ScrubRequest, 'ScrubRequest'),
  messageCodec(admin.ScrubReply, 'ScrubReply'),
)

export const adminDamaged = unary(
  '/cairn.v1.Admin/Damaged',
  messageCodec(admin.DamagedRequest, 'DamagedRequest'),
  messageCodec(admin.DamagedReply, 'DamagedReply'),
)

export const adminBrowse = unary(
  '/cairn.v1.Admin/Browse',
  messageCodec(admin.BrowseRequest, 'BrowseRequest'),
  messageCodec(admin.BrowseReply, 'BrowseReply'),
)

export const adminCreateExport = unary(
  '/cairn.v1.Admin/CreateExport',
  messageCodec(admin.CreateExportRequest, 'CreateExportRequest'),
  messageCodec(admin.ExportReply, 'ExportReply'),
)

export const adminSetExport = unary(
  '/cairn.v1.Admin/SetExport',
  messageCodec(admin.SetExportRequest, 'SetExportRequest'),
  messageCodec(admin.ExportReply, 'ExportReply'),
)

export const adminRemoveExport = unary(
  '/cairn.v1.Admin/RemoveExport',
  messageCodec(admin.RemoveExportRequest, 'RemoveExportRequest'),
  messageCodec(admin.ExportReply, 'ExportReply'),
)

export const adminListExports = unary(
  '/cairn.v1.Admin/ListExports',
  messageCodec(admin.ListExportsRequest, 'ListExportsRequest'),
  messageCodec(admin.ListExportsReply, 'ListExportsReply'),
)

export const adminReleaseIdentity = unary(
  '/cairn.v1.Admin/ReleaseIdentity',
  messageCodec(admin.ReleaseIdentityRequest, 'ReleaseIdentityRequest'),
  messageCodec(admin.ReleaseIdentityReply, 'ReleaseIdentityReply'),
)

export const adminListBlocks = unary(
  '/cairn.v1.Admin/ListBlocks',
  messageCodec(admin.ListBlocksRequest, 'ListBlocksRequest'),
  messageCodec(admin.ListBlocksReply, 'ListBlocksReply'),
)

export const adminBackup = unary(
  '/cairn.v1.Admin/Backup',
  messageCodec(admin.BackupRequest, 'BackupRequest'),
  messageCodec(admin.BackupReply, 'BackupReply'),
)

export const adminReadBackup = unary(
  '/cairn.v1.Admin/ReadBackup',
  messageCodec(admin.ReadBackupRequest, 'ReadBackupRequest'),
  messageCodec(admin.ReadBackupReply, 'ReadBackupReply'),
)

export const adminRestoreStatus = unary(
  '/cairn.v1.Admin/RestoreStatus',
  messageCodec(admin.RestoreStatusRequest, 'RestoreStatusRequest'),
  messageCodec(admin.RestoreStatusReply, 'RestoreStatusReply'),
)

export const adminConfirmRestore = unary(
  '/cairn.v1.Admin/ConfirmRestore',
  messageCodec(admin.ConfirmRestoreRequest, 'ConfirmRestoreRequest'),
  messageCodec(admin.ConfirmRestoreReply, 'ConfirmRestoreReply'),
)

export const adminEvictMount = unary(
  '/cairn.v1.Admin/EvictMount',
  messageCodec(admin.EvictMountRequest, 'EvictMountRequest'),
  messageCodec(admin.EvictMountReply, 'EvictMountReply'),
)

export const adminLabelNode = unary(
  '/cairn.v1.Admin/LabelNode',
  messageCodec(admin.LabelNodeRequest, 'LabelNodeRequest'),
  messageCodec(admin.LabelNodeReply, 'LabelNodeReply'),
)

export const adminLocks = unary(
  '/cairn.v1.Admin/Locks',
  messageCodec(admin.LocksRequest, 'LocksRequest'),
  messageCodec(admin.LocksReply, 'LocksReply'),
)

export const adminLeases = unary(
  '/cairn.v1.Admin/Leases',
  messageCodec(admin.LeasesRequest, 'LeasesRequest'),
  messageCodec(admin.LeasesReply, 'LeasesReply'),
)

export const adminRemovalStatus = unary(
  '/cairn.v1.Admin/RemovalStatus',
  messageCodec(admin.RemovalStatusRequest, 'RemovalStatusRequest'),
  messageCodec(admin.RemovalStatusReply, 'RemovalStatusReply'),
)

export const adminActivity = unary(
  '/cairn.v1.Admin/Activity',
  messageCodec(admin.ActivityRequest, 'ActivityRequest'),
  messageCodec(admin.ActivityReply, 'ActivityReply'),
)

export const identityJoin = unary(
  '/cairn.v1.Identity/Join',
  messageCodec(identity.JoinRequest, 'JoinRequest'),
  messageCodec(identity.CertificateReply, 'CertificateReply'),
)

export const identityRenew = unary(
  '/cairn.v1.Identity/Renew',
  messageCodec(identity.RenewRequest, 'RenewRequest'),
  messageCodec(identity.CertificateReply, 'CertificateReply'),
)

export const identityCreateToken = unary(
  '/cairn.v1.Identity/CreateToken',
  messageCodec(identity.CreateTokenRequest, 'CreateTokenRequest'),
  messageCodec(identity.CreateTokenReply, 'CreateTokenReply'),
)

export const identityLogin = unary(
  '/cairn.v1.Identity/Login',
  messageCodec(identity.LoginRequest, 'LoginRequest'),
  messageCodec(identity.LoginReply, 'LoginReply'),
)

export const identityList = unary(
  '/cairn.v1.Identity/List',
  messageCodec(identity.ListIdentitiesRequest, 'ListIdentitiesRequest'),
  messageCodec(identity.ListIdentitiesReply, 'ListIdentitiesReply'),
)

export const identityRevoke = unary(
  '/cairn.v1.Identity/Revoke',
  messageCodec(identity.RevokeRequest, 'RevokeRequest'),
  messageCodec(identity.RevokeReply, 'RevokeReply'),
)

export const identityWatch = {
  ...stream(
    '/cairn.v1.Identity/Watch',
    messageCodec(identity.WatchUp, 'WatchUp'),
    messageCodec(identity.Standings, 'Standings'),
  ),
  silent: true,
} as const
