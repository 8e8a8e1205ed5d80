import type { Ino } from './ids.ts'
import type { Name } from './name.ts'

/** File type bits of a mode (S_IFMT and friends; source: include/uapi/linux/stat.h). */
export const S_IFMT = 0o170000
export const S_IFSOCK = 0o140000
export const S_IFLNK = 0o120000
export const S_IFREG = 0o100000
export const S_IFBLK = 0o060000
export const S_IFDIR = 0o040000
export const S_IFCHR = 0o020000
export const S_IFIFO = 0o010000
export const S_ISUID = 0o4000
export const S_ISGID = 0o2000
export const S_ISVTX = 0o1000
export const S_IXGRP = 0o010

export const isDirectory = (mode: number): boolean => (mode & S_IFMT) === S_IFDIR
export const isRegular = (mode: number): boolean => (mode & S_IFMT) === S_IFREG
export const isSymlink = (mode: number): boolean => (mode & S_IFMT) === S_IFLNK

/** What stat(2) shows of an inode. Times are nanoseconds since 1970, cluster time. */
export interface Attr {
  readonly ino: Ino
  /** Type and permission bits. */
  readonly mode: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  /** Device number of a device node, in the kernel's 32-bit encoding; else 0. */
  readonly rdev: number
  /** Bytes; of a directory, 4096; of a symlink, the target's length. */
  readonly size: number
  /** Bytes of the file that extents cover (st_blocks × 512, before rounding up). */
  readonly allocated: number
  readonly atime: bigint
  readonly mtime: bigint
  readonly ctime: bigint
  readonly btime: bigint
}

/** A time to set: a value in nanoseconds, or the cluster's time when the change is applied. */
export type TimeChange = bigint | 'now'

/** What setattr changes; what is absent stays. */
export interface AttrChange {
  /** Permission bits (07777) only. */
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  readonly size?: number
  readonly atime?: TimeChange
  readonly mtime?: TimeChange
  readonly ctime?: TimeChange
  /** Clear setuid, and setgid if group-executable, as a write by a non-owner does. */
  readonly killSuidgid?: boolean
}

/** One name of a directory. Cookies rise in listing order and stay valid while the directory changes. */
export interface Dirent {
  readonly name: Name
  readonly ino: Ino
  /** Type bits (S_IFMT) of the inode. */
  readonly type: number
  /** Where a listing that ended with this name goes on. Positive. */
  readonly cookie: bigint
}

export interface StatFs {
  /** Bytes at the default number of copies. */
  readonly totalBytes: number
  /** Bytes that can still be written at the default number of copies. */
  readonly availableBytes: number
  /** In use, and how many more there can be. */
  readonly files: number
  readonly filesFree: number
}

/** A byte-range or whole-file lock, as fcntl(2) and flock(2) know them. */
export interface LockRange {
  readonly kind: 'read' | 'write'
  readonly start: bigint
  /** Inclusive; 2^63-1 means to the end of the file, whatever its size. */
  readonly end: bigint
  /** Process as shown by F_GETLK, 0 for one of another mount. */
  readonly pid: number
}
