import { FsError } from '../../core/errors.ts'
import { MiB } from '../../core/units.ts'
import { initFlag, major, minorMax, minorMin, minorOfIncEpoch } from './abi.ts'
import type { Reply } from './reply.ts'
import type { Request } from './request.ts'

/** Largest READ and WRITE: more than 1 MiB brought nothing and would need a system-wide setting. */
export const requestDataMax = 1 * MiB
const pageBytes = 4096

/**
 * Requests that the kernel keeps under way in the background (read-ahead, write-back, asynchronous direct
 * I/O), and from how many on it calls the device congested and holds back read-ahead. The kernel's
 * defaults of 12 and 9 leave a network idle; 64 MiB of outstanding read-ahead is enough for any.
 */
const maxBackground = 64
const congestionThreshold = 48

/**
 * What we take if it is offered.
 * - EXPLICIT_INVAL_DATA, not AUTO_INVAL_DATA: leases say when cached pages are stale. The automatic way drops
 *   a file's pages whenever its mtime moved, so after each of our own writes.
 * - HANDLE_KILLPRIV_V2: else the kernel asks for security.capability before each write.
 * - POSIX_ACL and DONT_MASK: a default ACL replaces the umask, which only the file system can know.
 * - Not WRITEBACK_CACHE: the kernel would trust its own idea of a file's size over ours.
 * - EXPORT_SUPPORT: file handles outlive the kernel's cache; it looks up . and .. of an inode's number.
 * - Not READDIRPLUS_AUTO: the kernel would ask for attributes in a directory's first part only, and programs list
 *   a directory before they look at its entries. Who lists decides (Listings).
 * - Not NO_OPEN_SUPPORT: open is where leases are taken.
 */
const wanted =
  initFlag.ASYNC_READ |
  initFlag.POSIX_LOCKS |
  initFlag.ATOMIC_O_TRUNC |
  initFlag.EXPORT_SUPPORT |
  initFlag.BIG_WRITES |
  initFlag.DONT_MASK |
  initFlag.FLOCK_LOCKS |
  initFlag.DO_READDIRPLUS |
  initFlag.ASYNC_DIO |
  initFlag.PARALLEL_DIROPS |
  initFlag.POSIX_ACL |
  initFlag.ABORT_ERROR |
  initFlag.MAX_PAGES |
  initFlag.CACHE_SYMLINKS |
  initFlag.EXPLICIT_INVAL_DATA |
  initFlag.HANDLE_KILLPRIV_V2 |
  initFlag.SETXATTR_EXT |
  initFlag.INIT_EXT |
  initFlag.HAS_EXPIRE_ONLY |
  initFlag.DIRECT_IO_ALLOW_MMAP

/** What was agreed with the kernel: plain values, so that a successor process can be told. */
export interface Negotiated {
  readonly minor: number
  /** Bits of initFlag that both sides have. */
  readonly flags: bigint
  readonly maxReadahead: number
  readonly maxWrite: number
  /** A file opened with directIo can still be mapped (since 7.39). */
  readonly directIoMmap: boolean
  /** Notifier.invalidateAllNames works (since 7.44). */
  readonly canInvalidateAllNames: boolean
}

/** Reads struct fuse_init_in. EPROTO if the kernel speaks another language. */
export function negotiate(r: Request): Negotiated {
  const theirs = { major: r.u32(0), minor: r.u32(4) }
  if (theirs.major !== major || theirs.minor < minorMin) {
    throw new FsError(
      'EPROTO',
      `the kernel's FUSE protocol is ${theirs.major}.${theirs.minor}; this needs ${major}.${minorMin} or newer (Linux 5.4)`,
    )
  }
  const low = BigInt(r.u32(12))
  const extended = (low & initFlag.INIT_EXT) !== 0n && r.bodyBytes >= 20
  const flags = (low | (extended ? BigInt(r.u32(16)) << 32n : 0n)) & wanted
  if ((flags & initFlag.MAX_PAGES) === 0n)
    throw new FsError('EPROTO', 'the kernel does not offer FUSE_MAX_PAGES')
  const minor = Math.min(theirs.minor, minorMax)
  return {
    minor,
    flags,
    maxReadahead: r.u32(8),
    maxWrite: requestDataMax,
    directIoMmap: (flags & initFlag.DIRECT_IO_ALLOW_MMAP) !== 0n,
    canInvalidateAllNames: minor >= minorOfIncEpoch,
  }
}

/** struct fuse_init_out */
export function replyInit(reply: Reply, facts: Negotiated): void {
  reply.u32(major)
  reply.u32(facts.minor)
  reply.u32(facts.maxReadahead)
  reply.u32(Number(facts.flags & 0xffff_ffffn))
  reply.u16(maxBackground)
  reply.u16(congestionThreshold)
  reply.u32(facts.maxWrite)
  reply.u32(1)
  reply.u16(facts.maxWrite / pageBytes)
  reply.u16(0)
  reply.u32(Number(facts.flags >> 32n))
  reply.zeros(28)
}
