import { isDirectory, isSymlink, S_ISGID } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import { xattrBytesMax, xattrListBytesMax, xattrNameBytesMax } from '../../core/limits.ts'
import { nameFromBytes } from '../../core/name.ts'
import { MiB } from '../../core/units.ts'
import { type RemoveXattr, type SetXattr, XattrMode } from '../../wire/gen/cairn/v1/session.ts'
import { type Inode, inodeFlag, wireAttr } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'
import { accessAclName, applyAcl, defaultAclName, encodeAcl, parseAcl } from './acl.ts'
import { existing } from './checks.ts'
import type { CommandContext, ResultOf } from './context.ts'
import { capabilityName } from './privileges.ts'
import { touch } from './times.ts'

/** All values of an inode together: keeps one inode from taking the master's disk. */
const valueBytesMax = 1 * MiB

const prefixes = ['user.', 'trusted.', 'security.']
const accessAcl = nameFromBytes(accessAclName)
const defaultAcl = nameFromBytes(defaultAclName)
const capability = nameFromBytes(capabilityName)

/** What the attribute is to the file system. */
type Kind = 'plain' | 'capability' | 'access' | 'default'

/** Throws what the VFS gives for a name that no attribute can have. */
export function kindOf(name: Uint8Array): Kind {
  if (name.length === 0 || name.length > xattrNameBytesMax) throw new FsError('ERANGE')
  const text = nameFromBytes(name)
  if (text.includes('\0')) throw new FsError('EINVAL', 'The attribute name has a NUL byte')
  if (text === accessAcl) return 'access'
  if (text === defaultAcl) return 'default'
  if (text === capability) return 'capability'
  const prefix = prefixes.find(known => text.startsWith(known))
  if (prefix === undefined) throw new FsError('EOPNOTSUPP', 'The attribute name has an unknown prefix')
  if (text.length === prefix.length) throw new FsError('EINVAL', 'The attribute name is only a prefix')
  return 'plain'
}

export function setXattr(store: Store, op: SetXattr, ctx: CommandContext): ResultOf<'attr'> {
  const kind = kindOf(op.name)
  if (op.value.length > xattrBytesMax) throw new FsError('E2BIG')
  const inode = existing(store, op.ino)
  const { mode } = inode
  const before = store.xattrs.get(inode.ino, op.name)
  if (kind === 'access') setAccessAcl(store, inode, op)
  else if (kind === 'default') setDefaultAcl(store, inode, op)
  else setPlain(store, inode, op)
  if (kind === 'capability') inode.flags |= inodeFlag.capability
  // As on ext4, what was so before changes no time.
  const same = inode.mode === mode && isEqual(before, store.xattrs.get(inode.ino, op.name))
  return same ? { $case: 'attr', value: { attr: wireAttr(inode) } } : changed(store, inode, ctx.time)
}

export function removeXattr(store: Store, op: RemoveXattr, ctx: CommandContext): ResultOf<'attr'> {
  const kind = kindOf(op.name)
  const inode = existing(store, op.ino)
  const found = store.xattrs.remove(inode.ino, op.name)
  if (kind === 'access') inode.flags &= ~inodeFlag.accessAcl
  if (kind === 'default') inode.flags &= ~inodeFlag.defaultAcl
  if (kind === 'capability') inode.flags &= ~inodeFlag.capability
  if (!found && (kind === 'plain' || kind === 'capability')) throw new FsError('ENODATA')
  // Removing an ACL that is not there is a success, as the kernel's remove_acl has it, and changes nothing.
  if (!found) return { $case: 'attr', value: { attr: wireAttr(inode) } }
  return changed(store, inode, ctx.time)
}

const isEqual = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && Buffer.compare(a, b) === 0)

function changed(store: Store, inode: Inode, time: bigint): ResultOf<'attr'> {
  touch(inode, time)
  store.inodes.save(inode)
  return { $case: 'attr', value: { attr: wireAttr(inode) } }
}

function setPlain(store: Store, inode: Inode, op: SetXattr): void {
  const old = store.xattrs.get(inode.ino, op.name)
  if (op.mode === XattrMode.XATTR_MODE_CREATE && old !== undefined) throw new FsError('EEXIST')
  if (op.mode === XattrMode.XATTR_MODE_REPLACE && old === undefined) throw new FsError('ENODATA')
  const { names, values } = store.xattrs.bytes(inode.ino)
  const namesAfter = names + (old === undefined ? op.name.length + 1 : 0)
  const valuesAfter = values - (old?.length ?? 0) + op.value.length
  if (namesAfter > xattrListBytesMax || valuesAfter > valueBytesMax) throw new FsError('ENOSPC')
  put(store, inode, op.name, op.value)
}

/** Sets the permission bits too; an ACL that says no more than they do is not kept. */
function setAccessAcl(store: Store, inode: Inode, op: SetXattr): void {
  if (isSymlink(inode.mode)) throw new FsError('EOPNOTSUPP')
  const acl = parseAcl(op.value)
  const { mode, access } = acl.length === 0 ? { mode: inode.mode } : applyAcl(acl, inode.mode)
  inode.mode = op.killSgid ? mode & ~S_ISGID : mode
  inode.flags &= ~inodeFlag.accessAcl
  store.xattrs.remove(inode.ino, accessAclName)
  if (access === undefined) return
  put(store, inode, accessAclName, encodeAcl(access))
  inode.flags |= inodeFlag.accessAcl
}

function setDefaultAcl(store: Store, inode: Inode, op: SetXattr): void {
  if (isSymlink(inode.mode)) throw new FsError('EOPNOTSUPP')
  const acl = parseAcl(op.value)
  if (acl.length > 0 && !isDirectory(inode.mode))
    throw new FsError('EACCES', 'Only a directory has a default ACL')
  inode.flags &= ~inodeFlag.defaultAcl
  store.xattrs.remove(inode.ino, defaultAclName)
  if (acl.length === 0) return
  put(store, inode, defaultAclName, encodeAcl(acl))
  inode.flags |= inodeFlag.defaultAcl
}

function put(store: Store, inode: Inode, name: Uint8Array, value: Uint8Array): void {
  store.xattrs.put(inode.ino, name, value)
  inode.flags |= inodeFlag.xattrs
}
