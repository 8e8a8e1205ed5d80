import { S_IFDIR } from '../../core/attr.ts'
import { errno, FsError } from '../../core/errors.ts'
import { symlinkBytesMax } from '../../core/limits.ts'
import { nameToBytes } from '../../core/name.ts'
import { oFlag, renameFlag } from '../codec/abi.ts'
import { replyAbsent, replyEntry } from '../codec/attr.ts'
import { readOpenFlags, replyOpened } from '../codec/open-flags.ts'
import type { Reply } from '../codec/reply.ts'
import { entryName, type Request } from '../codec/request.ts'
import type { Absent, Entry, FileSystem, Opened } from '../filesystem.ts'
import { operation } from './operation.ts'

interface Created {
  readonly entry: Entry
  readonly opened: Opened
}

const forgetEntry = (fs: FileSystem, entry: Entry): void => fs.forget(entry.attr.ino, 1)

/** What ends with a counted lookup of a new or found inode. */
const entryReply = { reply: replyEntry, undo: forgetEntry }

const createdReply = {
  reply: (reply: Reply, { entry, opened }: Created) => {
    replyEntry(reply, entry)
    replyOpened(reply, opened)
  },
  undo: async (fs: FileSystem, { entry, opened }: Created) => {
    await fs.release(entry.attr.ino, opened.handle, undefined)
    forgetEntry(fs, entry)
  },
}

const renameModes = new Map([
  [0, 'replace'],
  [renameFlag.NOREPLACE, 'noreplace'],
  [renameFlag.EXCHANGE, 'exchange'],
  [renameFlag.WHITEOUT, 'whiteout'],
  [renameFlag.WHITEOUT | renameFlag.NOREPLACE, 'noreplace-whiteout'],
] as const)

function rename(fs: FileSystem, r: Request, flags: number) {
  const mode = renameModes.get(flags)
  if (mode === undefined) throw new FsError('EINVAL', `rename flags ${flags}`)
  return fs.rename(r.node, r.name(), r.inode(0), r.name(), mode, r)
}

/** Operations on names: what changes or looks up the tree. */
export const nameOperations = {
  LOOKUP: operation<Entry | Absent>({
    inBytes: 0,
    run: (fs, r) => {
      const name = r.text()
      if (name === '.') return fs.lookupSelf(r.node, r)
      if (name === '..') return fs.lookupParent(r.node, r)
      return fs.lookup(r.node, entryName(name), r)
    },
    reply: (reply, found) => {
      if (found.attr !== undefined) replyEntry(reply, found)
      else if (found.nameTtlMs > 0) replyAbsent(reply, found.nameTtlMs)
      else reply.fail(errno.ENOENT)
    },
    undo: (fs, found) => {
      if (found.attr !== undefined) forgetEntry(fs, found)
    },
  }),
  FORGET: operation({
    inBytes: 8,
    silent: true,
    run: (fs, r) => fs.forget(r.node, r.size(0, 'EINVAL')),
  }),
  BATCH_FORGET: operation({
    inBytes: 8,
    silent: true,
    run: (fs, r) => {
      const items = r.data(r.u32(0) * 16)
      for (let at = 0; at < items.length; at += 16) {
        const count = items.readBigUInt64LE(at + 8)
        fs.forget(r.inodeOf(items.readBigUInt64LE(at)), Number(count))
      }
    },
  }),
  READLINK: operation({
    inBytes: 0,
    run: (fs, r) => fs.readlink(r.node, r),
    reply: (reply, target) => reply.data([nameToBytes(target)]),
  }),
  SYMLINK: operation({
    inBytes: 0,
    run: (fs, r) => {
      const name = r.name()
      const target = r.text()
      if (target.length > symlinkBytesMax) throw new FsError('ENAMETOOLONG')
      if (target.length === 0) throw new FsError('ENOENT')
      return fs.symlink(r.node, name, target, r)
    },
    ...entryReply,
  }),
  MKNOD: operation({
    inBytes: 16,
    run: (fs, r) => fs.mknod(r.node, r.name(), { mode: r.u32(0), rdev: r.u32(4), umask: r.u32(8) }, r),
    ...entryReply,
  }),
  MKDIR: operation({
    inBytes: 8,
    run: (fs, r) =>
      fs.mkdir(r.node, r.name(), { mode: S_IFDIR | (r.u32(0) & 0o7777), rdev: 0, umask: r.u32(4) }, r),
    ...entryReply,
  }),
  LINK: operation({
    inBytes: 8,
    run: (fs, r) => fs.link(r.inode(0), r.node, r.name(), r),
    ...entryReply,
  }),
  UNLINK: operation({ inBytes: 0, run: (fs, r) => fs.unlink(r.node, r.name(), r) }),
  RMDIR: operation({ inBytes: 0, run: (fs, r) => fs.rmdir(r.node, r.name(), r) }),
  RENAME: operation({ inBytes: 8, run: (fs, r) => rename(fs, r, 0) }),
  RENAME2: operation({ inBytes: 16, run: (fs, r) => rename(fs, r, r.u32(8)) }),
  CREATE: operation<Created>({
    inBytes: 16,
    run: (fs, r, { directBit }) =>
      fs.create(
        r.node,
        r.name(),
        { mode: r.u32(4), rdev: 0, umask: r.u32(8) },
        readOpenFlags(r.u32(0), r.u32(12), directBit),
        (r.u32(0) & oFlag.EXCL) !== 0,
        r,
      ),
    ...createdReply,
  }),
  TMPFILE: operation<Created>({
    inBytes: 16,
    run: (fs, r, { directBit }) =>
      fs.tmpfile(
        r.node,
        { mode: r.u32(4), rdev: 0, umask: r.u32(8) },
        readOpenFlags(r.u32(0), r.u32(12), directBit),
        r,
      ),
    ...createdReply,
  }),
}
