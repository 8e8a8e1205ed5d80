import { errno, FsError } from '../../core/errors.ts'
import { nameBytesMax, xattrBytesMax, xattrListBytesMax, xattrNameBytesMax } from '../../core/limits.ts'
import { type Name, nameToBytes } from '../../core/name.ts'
import { getattrFh, initFlag, setxattrAclKillSgid, xattrFlag } from '../codec/abi.ts'
import { readAttrChange, replyAttr, replyStatx } from '../codec/attr.ts'
import type { Reply } from '../codec/reply.ts'
import type { Request } from '../codec/request.ts'
import { operation, then } from './operation.ts'

/** Unit of statfs, the one that programs know from ext4. */
const statfsUnit = 4096

/** Bytes asked for with room for `room` of them; 0 only asks for their number. There may be none. */
interface Sized {
  readonly room: number
  readonly bytes: Uint8Array | undefined
}

/** struct fuse_getxattr_out, or the bytes themselves. */
function replySized(reply: Reply, { room, bytes }: Sized): void {
  if (bytes === undefined) {
    reply.fail(errno.ENODATA)
    return
  }
  if (room > 0 && bytes.length > room) {
    reply.fail(errno.ERANGE)
    return
  }
  if (room > 0) {
    reply.data([bytes])
    return
  }
  reply.u32(bytes.length)
  reply.u32(0)
}

function xattrName(r: Request): Name {
  const name = r.text()
  if (name.length === 0 || name.length > xattrNameBytesMax) throw new FsError('ERANGE')
  return name
}

function joinNames(names: readonly Name[]): Buffer {
  const bytes = nameToBytes(names.map(name => `${name}\0`).join('') as Name)
  if (bytes.length > xattrListBytesMax) throw new FsError('E2BIG')
  return bytes
}

function xattrMode(flags: number): 'set' | 'create' | 'replace' | 'neither' {
  if (flags === 0) return 'set'
  if (flags === xattrFlag.CREATE) return 'create'
  if (flags === xattrFlag.REPLACE) return 'replace'
  if (flags === (xattrFlag.CREATE | xattrFlag.REPLACE)) return 'neither'
  throw new FsError('EINVAL', `setxattr flags ${flags}`)
}

/** Operations on what an inode is, and on the file system as a whole. */
export const inodeOperations = {
  GETATTR: operation({
    inBytes: 16,
    run: (fs, r) => fs.getattr(r.node, (r.u32(0) & getattrFh) !== 0 ? r.u64(8) : undefined, r),
    reply: replyAttr,
  }),
  STATX: operation({
    inBytes: 24,
    run: (fs, r) => fs.getattr(r.node, (r.u32(0) & getattrFh) !== 0 ? r.u64(8) : undefined, r),
    reply: replyStatx,
  }),
  SETATTR: operation({
    inBytes: 88,
    run: (fs, r) => {
      const { change, handle } = readAttrChange(r)
      return fs.setattr(r.node, change, handle, r)
    },
    reply: replyAttr,
  }),
  STATFS: operation({
    inBytes: 0,
    run: (fs, r) => fs.statfs(r),
    reply: (reply, stat) => {
      const free = Math.floor(stat.availableBytes / statfsUnit)
      reply.size(Math.max(Math.floor(stat.totalBytes / statfsUnit), free))
      reply.size(free)
      reply.size(free)
      reply.size(stat.files + stat.filesFree)
      reply.size(stat.filesFree)
      reply.u32(statfsUnit)
      reply.u32(nameBytesMax)
      reply.u32(statfsUnit)
      reply.zeros(28)
    },
  }),
  GETXATTR: operation<Sized>({
    inBytes: 8,
    run: (fs, r) => {
      const room = r.u32(0)
      return then(fs.getxattr(r.node, xattrName(r), r), bytes => ({ room, bytes }))
    },
    reply: replySized,
  }),
  LISTXATTR: operation<Sized>({
    inBytes: 8,
    run: (fs, r) => {
      const room = r.u32(0)
      return then(fs.listxattr(r.node, r), names => ({ room, bytes: joinNames(names) }))
    },
    reply: replySized,
  }),
  SETXATTR: operation({
    inBytes: 8,
    lendsRequest: true,
    run: (fs, r, { facts }) => {
      // Negotiated, the structure has two fields more.
      const extended = (facts.flags & initFlag.SETXATTR_EXT) !== 0n
      if (extended) r.check(16)
      const size = r.u32(0)
      if (size > xattrBytesMax) throw new FsError('E2BIG')
      const mode = xattrMode(r.u32(4))
      const killSgid = extended && (r.u32(8) & setxattrAclKillSgid) !== 0
      const name = xattrName(r)
      if (mode !== 'neither') return fs.setxattr(r.node, name, r.data(size), mode, killSgid, r)
      // To create and to replace at once: no attribute can satisfy that, and what is wrong depends on it.
      return then(fs.getxattr(r.node, name, r), value => {
        throw new FsError(value === undefined ? 'ENODATA' : 'EEXIST')
      })
    },
  }),
  REMOVEXATTR: operation({ inBytes: 0, run: (fs, r) => fs.removexattr(r.node, xattrName(r), r) }),
}
