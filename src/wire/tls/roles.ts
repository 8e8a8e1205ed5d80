/**
 * Who may call what. One table for every method that a daemon serves: what is not in it is refused, and a test
 * holds it against proto/.
 */
export const roles = ['master', 'chunkserver', 'mount', 'admin', 'observer'] as const
export type Role = (typeof roles)[number]

/** The roles that a token can be for: there is one master, and its identity is made with the cluster. */
export const joinableRoles = ['chunkserver', 'mount', 'admin', 'observer'] as const satisfies readonly Role[]
export type JoinableRole = (typeof joinableRoles)[number]

export const isRole = (text: unknown): text is Role => roles.includes(text as Role)
export const isJoinable = (text: unknown): text is JoinableRole =>
  joinableRoles.includes(text as JoinableRole)

/** Those whose certificates are good for the listening end of a connection. */
export const servingRoles: readonly Role[] = ['master', 'chunkserver']

export interface Method {
  /** Whose word counts: a caller takes an answer from nobody else. */
  readonly servers: readonly Role[]
  readonly callers: readonly Role[]
  /** Also those who have no certificate yet. */
  readonly strangers?: true
  /** Changes something or hands something out: that it was called is in the audit log. */
  readonly audited?: true
}

const master = ['master'] as const
const everybody = ['chunkserver', 'mount', 'admin', 'observer'] as const

const look = { servers: master, callers: ['admin', 'observer'] } as const satisfies Method
/** Shows names of files, or what is in them. */
const inspect = { servers: master, callers: ['admin'] } as const satisfies Method
const administer = { servers: master, callers: ['admin'], audited: true } as const satisfies Method
const tool = { servers: servingRoles, callers: ['admin', 'observer'] } as const satisfies Method

const methods: Readonly<Record<string, Method>> = {
  '/cairn.v1.Session/Attach': { servers: master, callers: ['mount'] },
  '/cairn.v1.Nodes/Attach': { servers: master, callers: ['chunkserver'] },
  '/cairn.v1.Blocks/Open': { servers: ['chunkserver'], callers: ['chunkserver', 'mount', 'admin'] },
  '/cairn.v1.MasterLog/Follow': { servers: ['chunkserver'], callers: master },
  '/cairn.v1.MasterLog/ListLog': { servers: ['chunkserver'], callers: ['admin'], audited: true },
  '/cairn.v1.MasterLog/ReadLog': { servers: ['chunkserver'], callers: ['admin'], audited: true },

  '/cairn.v1.Identity/Join': { servers: master, callers: everybody, strangers: true, audited: true },
  '/cairn.v1.Identity/Renew': { servers: master, callers: everybody, audited: true },
  '/cairn.v1.Identity/Watch': { servers: master, callers: ['chunkserver', 'mount'] },
  '/cairn.v1.Identity/CreateToken': administer,
  '/cairn.v1.Identity/Login': { ...look, audited: true },
  '/cairn.v1.Identity/List': inspect,
  '/cairn.v1.Identity/Revoke': administer,

  '/cairn.v1.Admin/Status': look,
  '/cairn.v1.Admin/RepairStatus': look,
  '/cairn.v1.Admin/RemovalStatus': look,
  '/cairn.v1.Admin/RestoreStatus': look,
  '/cairn.v1.Admin/Activity': look,
  '/cairn.v1.Admin/Info': inspect,
  '/cairn.v1.Admin/Fsck': inspect,
  '/cairn.v1.Admin/ListBlocks': inspect,
  '/cairn.v1.Admin/Damaged': inspect,
  '/cairn.v1.Admin/Locks': inspect,
  '/cairn.v1.Admin/Leases': inspect,
  '/cairn.v1.Admin/Browse': inspect,
  '/cairn.v1.Admin/ListExports': inspect,
  '/cairn.v1.Admin/CreateExport': administer,
  '/cairn.v1.Admin/SetExport': administer,
  '/cairn.v1.Admin/RemoveExport': administer,
  '/cairn.v1.Admin/ReleaseIdentity': administer,
  '/cairn.v1.Admin/SetCopies': administer,
  '/cairn.v1.Admin/Backup': administer,
  '/cairn.v1.Admin/ReadBackup': administer,
  '/cairn.v1.Admin/ConfirmRestore': administer,
  '/cairn.v1.Admin/SetDraining': administer,
  '/cairn.v1.Admin/RemoveNode': administer,
  '/cairn.v1.Admin/Rebalance': administer,
  '/cairn.v1.Admin/Scrub': administer,
  '/cairn.v1.Admin/EvictMount': administer,
  '/cairn.v1.Admin/LabelNode': administer,

  '/grpc.health.v1.Health/Check': tool,
  '/grpc.health.v1.Health/List': tool,
  '/grpc.health.v1.Health/Watch': tool,
  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo': tool,
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo': tool,
}

export const methodPaths: readonly string[] = Object.keys(methods)

/** Undefined: nobody may. */
export const methodOf = (path: string): Method | undefined =>
  Object.hasOwn(methods, path) ? methods[path] : undefined
