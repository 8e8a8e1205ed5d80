import { S_ISGID, S_ISUID, S_IXGRP } from '../../core/attr.ts'
import { nameFromText, nameToBytes } from '../../core/name.ts'
import { type Inode, inodeFlag } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'

export const capabilityName = nameToBytes(nameFromText('security.capability'))

/**
 * What a write, truncation or change of owner takes from an executable (FUSE_HANDLE_KILLPRIV_V2
 * leaves it to the file system): setuid; setgid if it is group-executable, since else it marks
 * mandatory locking; file capabilities.
 */
export function killPrivileges(store: Store, inode: Inode): void {
  inode.mode &= ~S_ISUID
  if ((inode.mode & S_IXGRP) !== 0) inode.mode &= ~S_ISGID
  dropCapability(store, inode)
}

export function dropCapability(store: Store, inode: Inode): void {
  if ((inode.flags & inodeFlag.capability) === 0) return
  store.xattrs.remove(inode.ino, capabilityName)
  inode.flags &= ~inodeFlag.capability
}
