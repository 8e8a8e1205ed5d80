/**
 * POSIX ACLs as Linux has them: the binary form of the system.posix_acl_* attributes, and what
 * create, chmod and setfacl do with them (sources of the rules: fs/posix_acl.c).
 */
import { FsError } from '../../core/errors.ts'
import { nameFromText, nameToBytes } from '../../core/name.ts'

export const accessAclName = nameToBytes(nameFromText('system.posix_acl_access'))
export const defaultAclName = nameToBytes(nameFromText('system.posix_acl_default'))

export const aclTag = {
  userObj: 0x01,
  user: 0x02,
  groupObj: 0x04,
  group: 0x08,
  mask: 0x10,
  other: 0x20,
} as const
const version = 2
const headerBytes = 4
const entryBytes = 8
/** Of entries that name nobody. */
const undefinedId = 0xffffffff

export interface AclEntry {
  readonly tag: number
  readonly perm: number
  readonly id: number
}
export type Acl = readonly AclEntry[]

/** Throws EINVAL (EOPNOTSUPP for an unknown version), as the kernel does. Empty: no ACL. */
export function parseAcl(bytes: Uint8Array): Acl {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.length === 0) return []
  if (view.length < headerBytes || (view.length - headerBytes) % entryBytes !== 0) {
    throw new FsError('EINVAL', `An ACL cannot have ${view.length} bytes`)
  }
  if (view.readUInt32LE(0) !== version) throw new FsError('EOPNOTSUPP', 'The ACL has an unknown version')
  const acl: AclEntry[] = []
  for (let at = headerBytes; at < view.length; at += entryBytes) {
    acl.push({ tag: view.readUInt16LE(at), perm: view.readUInt16LE(at + 2), id: view.readUInt32LE(at + 4) })
  }
  if (acl.length > 0) checkAcl(acl)
  return acl
}

export function encodeAcl(acl: Acl): Buffer {
  const bytes = Buffer.alloc(headerBytes + acl.length * entryBytes)
  bytes.writeUInt32LE(version, 0)
  acl.forEach((entry, i) => {
    const at = headerBytes + i * entryBytes
    bytes.writeUInt16LE(entry.tag, at)
    bytes.writeUInt16LE(entry.perm, at + 2)
    bytes.writeUInt32LE(isNamed(entry) ? entry.id : undefinedId, at + 4)
  })
  return bytes
}

const isNamed = (entry: AclEntry): boolean => entry.tag === aclTag.user || entry.tag === aclTag.group

/** Which tag may follow which: userObj user* groupObj group* mask? other. */
const nextTags: Readonly<Record<number, readonly number[]>> = {
  0: [aclTag.userObj],
  [aclTag.userObj]: [aclTag.user, aclTag.groupObj],
  [aclTag.user]: [aclTag.user, aclTag.groupObj],
  [aclTag.groupObj]: [aclTag.group, aclTag.mask, aclTag.other],
  [aclTag.group]: [aclTag.group, aclTag.mask],
  [aclTag.mask]: [aclTag.other],
  [aclTag.other]: [],
}

function checkAcl(acl: Acl): void {
  let last = 0
  for (const entry of acl) {
    if (!(nextTags[last] ?? []).includes(entry.tag)) throw new FsError('EINVAL', 'The ACL is out of order')
    if ((entry.perm & ~7) !== 0) throw new FsError('EINVAL', 'The ACL has unknown permissions')
    if (isNamed(entry) && entry.id === undefinedId) throw new FsError('EINVAL', 'The ACL names nobody')
    last = entry.tag
  }
  const named = acl.some(isNamed)
  const masked = acl.some(entry => entry.tag === aclTag.mask)
  if (last !== aclTag.other || (named && !masked)) throw new FsError('EINVAL', 'The ACL is incomplete')
}

/** Says no more than the nine permission bits do. */
const isMinimal = (acl: Acl): boolean => acl.length === 3

/** Where the group bits of the mode are kept: in the mask if there is one. */
const groupClass = (acl: Acl): number =>
  acl.some(entry => entry.tag === aclTag.mask) ? aclTag.mask : aclTag.groupObj

/** Shift of the mode bits that an entry stands for, undefined for one that has none. */
function shiftOf(entry: AclEntry, groupTag: number): number | undefined {
  if (entry.tag === aclTag.userObj) return 6
  if (entry.tag === groupTag) return 3
  return entry.tag === aclTag.other ? 0 : undefined
}

/** Permission bits as stat(2) shows them. */
function modeBits(acl: Acl): number {
  const groupTag = groupClass(acl)
  return acl.reduce((mode, entry) => mode | (entry.perm << (shiftOf(entry, groupTag) ?? 16)), 0) & 0o777
}

/** The access ACL and mode of something made in a directory with a default ACL. The umask does not count. */
export function inheritAcl(defaultAcl: Acl, mode: number): { readonly mode: number; readonly access?: Acl } {
  const groupTag = groupClass(defaultAcl)
  const access = defaultAcl.map(entry => {
    const shift = shiftOf(entry, groupTag)
    return shift === undefined ? entry : { ...entry, perm: entry.perm & (mode >> shift) }
  })
  const result = (mode & ~0o777) | modeBits(access)
  return isMinimal(access) ? { mode: result } : { mode: result, access }
}

/** After chmod(2). */
export function chmodAcl(acl: Acl, mode: number): Acl {
  const groupTag = groupClass(acl)
  return acl.map(entry => {
    const shift = shiftOf(entry, groupTag)
    return shift === undefined ? entry : { ...entry, perm: (mode >> shift) & 7 }
  })
}

/** What setting an access ACL makes of the mode, and the ACL if the mode does not say it all. */
export function applyAcl(acl: Acl, mode: number): { readonly mode: number; readonly access?: Acl } {
  const result = (mode & ~0o777) | modeBits(acl)
  return isMinimal(acl) ? { mode: result } : { mode: result, access: acl }
}
