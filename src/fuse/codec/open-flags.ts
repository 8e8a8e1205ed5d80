import type { Opened, OpenFlags } from '../filesystem.ts'
import { fopen, oFlag, openKillSuidgid } from './abi.ts'
import type { Reply } from './reply.ts'

/** `flags` are those of open(2), `fuseFlags` FUSE_OPEN_…, `directBit` this machine's O_DIRECT. */
export function readOpenFlags(flags: number, fuseFlags: number, directBit: number): OpenFlags {
  const access = flags & oFlag.ACCMODE
  return {
    read: access !== oFlag.WRONLY,
    write: access === oFlag.WRONLY || access === oFlag.RDWR,
    append: (flags & oFlag.APPEND) !== 0,
    truncate: (flags & oFlag.TRUNC) !== 0,
    sync: (flags & oFlag.DSYNC) !== 0,
    direct: (flags & directBit) !== 0,
    noAtime: (flags & oFlag.NOATIME) !== 0,
    killSuidgid: (fuseFlags & openKillSuidgid) !== 0,
  }
}

/** struct fuse_open_out */
export function replyOpened(reply: Reply, opened: Opened): void {
  reply.u64(opened.handle)
  reply.u32(
    // Without PARALLEL_DIRECT_WRITES the kernel lets one direct write at a time through per inode.
    (opened.directIo ? fopen.DIRECT_IO | fopen.PARALLEL_DIRECT_WRITES : 0) |
      (opened.keepCache ? fopen.KEEP_CACHE : 0) |
      (opened.nonSeekable ? fopen.NONSEEKABLE : 0) |
      (opened.cacheDirectory ? fopen.CACHE_DIR : 0) |
      (opened.noFlush ? fopen.NOFLUSH : 0),
  )
  reply.u32(0)
}
