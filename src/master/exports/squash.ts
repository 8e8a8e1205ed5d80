/**
 * Judges calls of mounts whose users are not believed to be who they are (Access): the kernel of such a mount is asked
 * by its root in vain. What is allowed to nobody they may be is refused, and what they make is theirs.
 */
import {
  isDirectory,
  isRegular,
  S_IFBLK,
  S_IFCHR,
  S_IFMT,
  S_ISGID,
  S_ISUID,
  S_ISVTX,
} from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import { nameFromBytes } from '../../core/name.ts'
import type { Op } from '../../wire/commands.ts'
import {
  LeaseKind,
  type Commit,
  type Create,
  type Link,
  LockKind,
  type SetAttr,
  type SetLock,
} from '../../wire/gen/cairn/v1/session.ts'
import { accessAclName, defaultAclName } from '../namespace/acl.ts'
import type { Inode } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'
import { type Access, want } from './access.ts'

const trusted = 'trusted.'
const user = 'user.'

export class Squashed {
  readonly #store: Store
  readonly #access: Access

  constructor(store: Store, access: Access) {
    this.#store = store
    this.#access = access
  }

  /** The call as it is to be executed. Throws EACCES or EPERM. */
  judged(op: Op): Op {
    switch (op.$case) {
      case 'lookup':
        this.#check(op.value.parent, want.execute)
        return op
      case 'readDir':
        this.#check(op.value.ino, op.value.attrs ? want.read | want.execute : want.read)
        return op
      case 'readTree': {
        const inos = op.value.inos.filter(ino => {
          const inode = this.#store.inodes.find(ino)
          return inode !== undefined && this.#access.may(inode, want.read | want.execute)
        })
        // Each directory has rights of its own.
        return { $case: 'readTree', value: { ...op.value, inos, below: false } }
      }
      case 'getXattr':
        this.#readXattr(op.value.ino, op.value.name)
        return op
      case 'getExtents':
        this.#checkReadable(op.value.ino)
        return op
      case 'getExtentsOf':
        return { $case: 'getExtentsOf', value: { inos: op.value.inos.filter(ino => this.#isReadable(ino)) } }
      case 'acquire':
        if (op.value.kind === LeaseKind.LEASE_KIND_WRITE) this.#check(op.value.ino, want.write)
        return op
      case 'setLock':
        this.#lock(op.value)
        return op
      case 'create':
        return { $case: 'create', value: this.#create(op.value) }
      case 'link':
        this.#link(op.value)
        return op
      case 'unlink':
        this.#removal(op.value.parent, op.value.name)
        return op
      case 'rename': {
        const { parent, name, newParent, newName, uid, gid } = op.value
        this.#removal(parent, name)
        this.#removal(newParent, newName)
        const moved = parent === newParent ? undefined : this.#child(parent, name)
        if (moved !== undefined && isDirectory(moved.mode)) this.#check(moved.ino, want.write)
        return {
          $case: 'rename',
          value: { ...op.value, uid: this.#access.uid(uid), gid: this.#access.gid(gid) },
        }
      }
      case 'setAttr':
        return { $case: 'setAttr', value: this.#setAttr(op.value) }
      case 'setXattr': {
        const group = this.#store.inodes.find(op.value.ino)?.gid ?? 0
        this.#writeXattr(op.value.ino, op.value.name)
        const killSgid = op.value.killSgid || !this.#access.isOfGroup(group)
        return { $case: 'setXattr', value: { ...op.value, killSgid } }
      }
      case 'removeXattr':
        this.#writeXattr(op.value.ino, op.value.name)
        return op
      case 'commit':
        return { $case: 'commit', value: this.#commit(op.value) }
      case 'cloneRange':
        this.#checkReadable(op.value.from)
        this.#check(op.value.to, want.write)
        return { $case: 'cloneRange', value: { ...op.value, killSuidgid: true } }
      case 'punchRange':
        this.#check(op.value.ino, want.write)
        return { $case: 'punchRange', value: { ...op.value, killSuidgid: true } }
      case 'getAttr':
      case 'readLink':
      case 'listXattr':
      case 'locate':
      case 'statFs':
      case 'reclaim':
      case 'plan':
      case 'getLock':
      case 'reportDamage':
      case 'reserveSpace':
      case 'reserveInos':
      case 'barrier':
      case 'settle':
      case 'endSession':
      case 'closeOrphan':
        return op
    }
  }

  /** What is not there the execution says. */
  #check(ino: bigint, wanted: number): void {
    const inode = this.#store.inodes.find(ino)
    if (inode !== undefined && !this.#access.may(inode, wanted)) throw denied(inode)
  }

  /** Programs that may only be executed are read by the kernel. */
  #checkReadable(ino: bigint): void {
    const inode = this.#store.inodes.find(ino)
    if (inode !== undefined && !this.#isReadable(ino)) throw denied(inode)
  }

  #isReadable(ino: bigint): boolean {
    const inode = this.#store.inodes.find(ino)
    if (inode === undefined) return false
    return this.#access.may(inode, want.read) || this.#access.may(inode, want.execute)
  }

  /** As who has the file open may: for a range that is locked for writing, to write. */
  #lock({ ino, lock }: SetLock): void {
    const inode = this.#store.inodes.find(ino)
    if (inode === undefined || lock === undefined || lock.kind === LockKind.LOCK_KIND_UNLOCK) return
    const writes = lock.kind === LockKind.LOCK_KIND_WRITE && !lock.flock
    if (this.#access.may(inode, want.write) || (!writes && this.#access.may(inode, want.read))) return
    throw denied(inode)
  }

  #checkOwner(inode: Inode): void {
    if (!this.#access.owns(inode)) throw new FsError('EPERM', `Inode ${inode.ino} is somebody else's`)
  }

  #child(parent: bigint, name: Uint8Array): Inode | undefined {
    const entry = this.#store.dirents.find(parent, name)
    return entry === undefined ? undefined : this.#store.inodes.find(entry.ino)
  }

  /** The name may go: in a directory with the sticky bit it is its owner's, or the directory's. */
  #removal(parent: bigint, name: Uint8Array): void {
    const directory = this.#store.inodes.find(parent)
    if (directory === undefined) return
    if (!this.#access.mayChange(directory)) throw denied(directory)
    const child = this.#child(parent, name)
    if (child === undefined || (directory.mode & S_ISVTX) === 0 || this.#access.owns(directory)) return
    this.#checkOwner(child)
  }

  #create(op: Create): Create {
    const parent = this.#store.inodes.find(op.parent)
    if (parent !== undefined && this.#store.dirents.find(op.parent, op.name) === undefined)
      if (!this.#access.mayChange(parent)) throw denied(parent)
    if (parent !== undefined && !this.#access.may(parent, want.execute)) throw denied(parent)
    if (isDevice(op.mode, op.rdev)) throw new FsError('EPERM', 'Only root makes device nodes')
    return { ...op, uid: this.#access.uid(op.uid), gid: this.#access.gid(op.gid) }
  }

  /** As the kernel has it with protected_hardlinks: another's file that could not be written is not kept alive. */
  #link(op: Link): void {
    const parent = this.#store.inodes.find(op.parent)
    if (parent !== undefined && !this.#access.mayChange(parent)) throw denied(parent)
    const inode = this.#store.inodes.find(op.ino)
    if (inode === undefined || this.#access.owns(inode)) return
    const plain = isRegular(inode.mode) && (inode.mode & (S_ISUID | S_ISGID)) === 0
    if (!plain || !this.#access.may(inode, want.read | want.write))
      throw new FsError('EPERM', `Inode ${inode.ino} is somebody else's`)
  }

  #setAttr(op: SetAttr): SetAttr {
    const inode = this.#store.inodes.find(op.ino)
    if (inode === undefined) return op
    const isOwners = [op.mode, op.uid, op.gid, op.copies, op.ctime].some(value => value !== undefined)
    if (isOwners || op.atime?.now === false || op.mtime?.now === false) this.#checkOwner(inode)
    if (op.uid !== undefined && op.uid !== inode.uid) throw new FsError('EPERM', 'Only root gives files away')
    if (op.gid !== undefined && op.gid !== inode.gid && !this.#access.isOfGroup(op.gid))
      throw new FsError('EPERM', `Group ${op.gid} is not the caller's`)
    if (!isOwners && !this.#access.owns(inode)) this.#check(op.ino, want.write)
    const keeps = isDirectory(inode.mode) || this.#access.isOfGroup(op.gid ?? inode.gid)
    return {
      ...op,
      ...(op.mode === undefined || keeps ? {} : { mode: op.mode & ~S_ISGID }),
      killSuidgid: op.killSuidgid || op.size !== undefined,
    }
  }

  /** Access times alone are for who may read. */
  #commit(op: Commit): Commit {
    const writes = op.extents.length > 0 || op.size !== undefined || op.mtime !== undefined
    if (writes) this.#check(op.ino, want.write)
    else this.#checkReadable(op.ino)
    return { ...op, killSuidgid: op.killSuidgid || writes }
  }

  #readXattr(ino: bigint, name: Uint8Array): void {
    const text = nameFromBytes(name)
    if (text.startsWith(trusted)) throw new FsError('ENODATA')
    if (text.startsWith(user)) this.#check(ino, want.read)
  }

  #writeXattr(ino: bigint, name: Uint8Array): void {
    const inode = this.#store.inodes.find(ino)
    if (inode === undefined) return
    const isAcl = [accessAclName, defaultAclName].some(acl => Buffer.compare(acl, name) === 0)
    if (isAcl) this.#checkOwner(inode)
    else if (nameFromBytes(name).startsWith(user)) this.#check(ino, want.write)
    else throw new FsError('EPERM', 'Only root sets this attribute')
  }
}

/** A character device 0:0 is what overlayfs takes for a removed name: no device. */
export const isDevice = (mode: number, rdev: number): boolean =>
  (mode & S_IFMT) === S_IFBLK || ((mode & S_IFMT) === S_IFCHR && rdev !== 0)

/** Attributes that only root sees. */
export const isTrusted = (name: Uint8Array): boolean => nameFromBytes(name).startsWith(trusted)

const denied = ({ ino }: Inode): FsError => new FsError('EACCES', `Inode ${ino}: not allowed to this export`)
