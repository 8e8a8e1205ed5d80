import {
  isDirectory,
  isRegular,
  isSymlink,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  S_ISGID,
} from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import { symlinkBytesMax } from '../../core/limits.ts'
import type { Create } from '../../wire/gen/cairn/v1/session.ts'
import { type Inode, inodeFlag, isPlain, wireAttr } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'
import { accessAclName, defaultAclName, encodeAcl, inheritAcl, parseAcl } from './acl.ts'
import { checkName, existing, liveDirectory } from './checks.ts'
import type { CommandContext, ResultOf } from './context.ts'
import { checkMayHold } from './lifetime.ts'
import { touchContent } from './times.ts'

const types: ReadonlySet<number> = new Set([S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFBLK, S_IFCHR])

/** Makes a file, directory, symlink, FIFO, socket or device node, or an open file without a name. */
export function create(store: Store, op: Create, ctx: CommandContext): ResultOf<'entry'> {
  checkForm(op)
  if (!op.tmpfile) checkName(op.name)
  const parent = liveDirectory(store, op.parent)
  const entry = op.tmpfile ? undefined : store.dirents.find(parent.ino, op.name)
  if (entry !== undefined) return reply(reuse(existing(store, entry.ino), op), parent, entry.cookie)

  if (op.tmpfile) checkMayHold(ctx)
  const inode = addInode(store, parent, op, ctx)
  if (op.tmpfile) {
    store.orphans.add(inode.ino, ctx.session)
    return reply(inode, parent, 0n)
  }
  const cookie = store.dirents.add(parent.ino, op.name, inode.ino, inode.mode)
  if (isDirectory(inode.mode)) parent.nlink += 1
  touchContent(parent, ctx.time)
  store.inodes.save(parent)
  return reply(inode, parent, cookie)
}

const reply = (inode: Inode, parent: Inode, cookie: bigint): ResultOf<'entry'> => ({
  $case: 'entry',
  value: {
    attr: wireAttr(inode),
    parent: wireAttr(parent),
    plainParent: isPlain(parent),
    cookie,
  },
})

function checkForm(op: Create): void {
  if (!types.has(op.mode & S_IFMT)) throw new FsError('EINVAL', `The mode ${op.mode.toString(8)} has no type`)
  if (op.tmpfile && (!isRegular(op.mode) || op.name.length > 0)) {
    throw new FsError('EINVAL', 'Only a regular file can be without a name')
  }
  if (!isSymlink(op.mode)) return
  if (op.target.length === 0) throw new FsError('ENOENT', 'The target is empty')
  if (op.target.length > symlinkBytesMax) throw new FsError('ENAMETOOLONG')
  if (op.target.includes(0)) throw new FsError('EINVAL', 'The target has a NUL byte')
}

/** open(2) with O_CREAT and without O_EXCL takes a file that somebody made meanwhile. */
function reuse(found: Inode, op: Create): Inode {
  if (op.exclusive || op.ino !== 0n || !isRegular(op.mode)) throw new FsError('EEXIST')
  if (isDirectory(found.mode)) throw new FsError('EISDIR')
  if (!isRegular(found.mode)) throw new FsError('EEXIST')
  return found
}

export function addInode(store: Store, parent: Inode, op: Create, { session, time }: CommandContext): Inode {
  const isDir = isDirectory(op.mode)
  const inherits = (parent.mode & S_ISGID) !== 0
  const type = op.mode & S_IFMT
  const inode: Inode = {
    ino: op.ino === 0n ? store.inodes.issueIno() : store.inoRanges.take(session, op.ino),
    mode: type | (op.mode & 0o7777) | (inherits && isDir ? S_ISGID : 0),
    nlink: firstLinks(op),
    uid: op.uid,
    gid: inherits ? parent.gid : op.gid,
    rdev: type === S_IFCHR || type === S_IFBLK ? op.rdev : 0,
    size: firstSize(op),
    allocated: 0,
    atime: time,
    mtime: time,
    ctime: time,
    btime: time,
    parent: isDir ? parent.ino : (0n as Ino),
    copies: parent.copies,
    flags: op.tmpfile && !op.exclusive ? inodeFlag.linkable : 0,
  }
  settlePermissions(store, parent, inode, op.umask)
  if (isSymlink(inode.mode)) store.symlinks.add(inode.ino, op.target)
  store.inodes.add(inode)
  return inode
}

function firstLinks(op: Create): number {
  if (op.tmpfile) return 0
  return isDirectory(op.mode) ? 2 : 1
}

function firstSize(op: Create): number {
  if (isDirectory(op.mode)) return 4096
  return isSymlink(op.mode) ? op.target.length : 0
}

/** By the directory's default ACL, or else by the umask; a symlink's bits mean nothing and stay. */
function settlePermissions(store: Store, parent: Inode, inode: Inode, umask: number): void {
  if (isSymlink(inode.mode)) return
  const stored =
    (parent.flags & inodeFlag.defaultAcl) === 0 ? undefined : store.xattrs.get(parent.ino, defaultAclName)
  if (stored === undefined) {
    inode.mode &= ~(umask & 0o777)
    return
  }
  const { mode, access } = inheritAcl(parseAcl(stored), inode.mode)
  inode.mode = mode
  if (access !== undefined) {
    store.xattrs.put(inode.ino, accessAclName, encodeAcl(access))
    inode.flags |= inodeFlag.accessAcl | inodeFlag.xattrs
  }
  if (isDirectory(mode)) {
    store.xattrs.put(inode.ino, defaultAclName, stored)
    inode.flags |= inodeFlag.defaultAcl | inodeFlag.xattrs
  }
}
