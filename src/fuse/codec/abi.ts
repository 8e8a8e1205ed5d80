/**
 * The numbers of the kernel's FUSE protocol. Source: include/uapi/linux/fuse.h, versions 7.31 (the
 * oldest spoken) to 7.45. All fields are in the host's byte order, which is little endian on every
 * machine that Node runs on today.
 */
export const major = 7
export const minorMin = 31
export const minorMax = 45

/** sizeof(struct fuse_in_header) and sizeof(struct fuse_out_header). */
export const inHeaderBytes = 40
export const outHeaderBytes = 16
export const attrBytes = 88
export const entryBytes = 128
export const direntHeadBytes = 24

/** The kernel accepts error replies from -1 to -511. */
export const errnoMax = 511

export const opcode = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  BMAP: 37,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  NOTIFY_REPLY: 41,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SETUPMAPPING: 48,
  REMOVEMAPPING: 49,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
  COPY_FILE_RANGE_64: 53,
} as const

export type OpcodeName = keyof typeof opcode

/** Bits of INIT. From 32 on they travel in flags2 and need INIT_EXT. */
export const initFlag = {
  ASYNC_READ: 1n << 0n,
  POSIX_LOCKS: 1n << 1n,
  ATOMIC_O_TRUNC: 1n << 3n,
  EXPORT_SUPPORT: 1n << 4n,
  BIG_WRITES: 1n << 5n,
  DONT_MASK: 1n << 6n,
  FLOCK_LOCKS: 1n << 10n,
  HAS_IOCTL_DIR: 1n << 11n,
  AUTO_INVAL_DATA: 1n << 12n,
  DO_READDIRPLUS: 1n << 13n,
  READDIRPLUS_AUTO: 1n << 14n,
  ASYNC_DIO: 1n << 15n,
  WRITEBACK_CACHE: 1n << 16n,
  NO_OPEN_SUPPORT: 1n << 17n,
  PARALLEL_DIROPS: 1n << 18n,
  POSIX_ACL: 1n << 20n,
  ABORT_ERROR: 1n << 21n,
  MAX_PAGES: 1n << 22n,
  CACHE_SYMLINKS: 1n << 23n,
  EXPLICIT_INVAL_DATA: 1n << 25n,
  HANDLE_KILLPRIV_V2: 1n << 28n,
  SETXATTR_EXT: 1n << 29n,
  INIT_EXT: 1n << 30n,
  HAS_EXPIRE_ONLY: 1n << 35n,
  DIRECT_IO_ALLOW_MMAP: 1n << 36n,
} as const

export const notify = { INVAL_INODE: 2, INVAL_ENTRY: 3, INC_EPOCH: 8 } as const
/** The first minor version whose kernel knows FUSE_NOTIFY_INC_EPOCH. */
export const minorOfIncEpoch = 44

/** fuse_setattr_in.valid */
export const fattr = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  LOCKOWNER: 1 << 9,
  CTIME: 1 << 10,
  KILL_SUIDGID: 1 << 11,
} as const

/** fuse_open_out.open_flags */
export const fopen = {
  DIRECT_IO: 1 << 0,
  KEEP_CACHE: 1 << 1,
  NONSEEKABLE: 1 << 2,
  CACHE_DIR: 1 << 3,
  NOFLUSH: 1 << 5,
  PARALLEL_DIRECT_WRITES: 1 << 6,
} as const

export const getattrFh = 1 << 0
export const releaseFlockUnlock = 1 << 1
export const lkFlock = 1 << 0
export const readLockOwner = 1 << 1
export const writeCache = 1 << 0
export const writeKillSuidgid = 1 << 2
export const fsyncDataOnly = 1 << 0
export const openKillSuidgid = 1 << 0
export const setxattrAclKillSgid = 1 << 0

/** Types of struct fuse_file_lock: those of fcntl(2). */
export const lockType = { read: 0, write: 1, unlock: 2 } as const
/** OFFSET_MAX: "to the end of the file". */
export const lockEndMax = (1n << 63n) - 1n

/** statx(2) mask bits of what an answer always has: STATX_BASIC_STATS and STATX_BTIME. */
export const statxMask = 0xfff

/** Flags of open(2) that are the same on every Linux that Node supports. O_DIRECT is not: see device/host.ts. */
export const oFlag = {
  ACCMODE: 0o3,
  WRONLY: 0o1,
  RDWR: 0o2,
  EXCL: 0o200,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  DSYNC: 0o10000,
  NOATIME: 0o1000000,
} as const

export const renameFlag = { NOREPLACE: 1, EXCHANGE: 2, WHITEOUT: 4 } as const
export const fallocFlag = { KEEP_SIZE: 0x01, PUNCH_HOLE: 0x02, ZERO_RANGE: 0x10 } as const
export const seekWhence = { DATA: 3, HOLE: 4 } as const
export const xattrFlag = { CREATE: 1, REPLACE: 2 } as const
