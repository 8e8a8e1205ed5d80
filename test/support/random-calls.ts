import type { Request } from './syscalls.ts'

/** A small repeatable generator (mulberry32): the same seed gives the same system calls. */
export class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  below(bound: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * bound)
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T
  }
}

const O = {
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  CREAT: 0o100,
  EXCL: 0o200,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  DIRECTORY: 0o200000,
  NOFOLLOW: 0o400000,
  SYNC: 0o4010000,
  NONBLOCK: 0o4000,
  TMPFILE: 0o20200000,
}
const names = [
  'a',
  'b',
  'c',
  'd',
  'dir',
  'dir2',
  'link',
  `n${'x'.repeat(254)}`,
  `t${'y'.repeat(255)}`,
  'caf\u00c3\u00a9',
  '\u00ff\u00fe',
]
const dirs = ['', 'dir', 'dir2', 'dir/dir2', 'dir/dir']
const KEEP_SIZE = 1
const PUNCH_HOLE = 2
const ZERO_RANGE = 16

/** Lengths and offsets around the boundaries that matter: pages, pieces, blocks, and far out. */
function offset(dice: Dice): number {
  const base = dice.pick([0, 0, 4096, 65536, 131072, 1 << 20, 4 << 20, 8 << 20, 2 ** 32, 2 ** 41])
  return Math.max(0, base + dice.pick([0, 0, 1, -1, 17, -100, 4096]))
}

function length(dice: Dice): number {
  return dice.pick([0, 1, 10, 511, 4096, 4097, 65536, 100_000, 300_000, 1 << 20])
}

function somePath(dice: Dice): string {
  const dir = dice.pick(dirs)
  const name = dice.pick(names)
  return dir === '' ? name : `${dir}/${name}`
}

const mode = (dice: Dice) => dice.pick([0o644, 0o755, 0o600, 0o4755, 0o2755, 0o1777, 0o777, 0])

/** What O_DIRECT takes on ext4. */
const blocks = (dice: Dice) => ({
  offset: dice.pick([0, 0, 4096, 131072, 1 << 20]),
  length: dice.pick([4096, 8192, 65536, 0]),
})

const time = (dice: Dice) =>
  dice.pick(['now', 'omit', 0, 1, 999_999_999, 1_500_000_000_000_000, -1_000_000_000] as const)

const USER_OBJ = 1
const USER = 2
const GROUP_OBJ = 4
const GROUP = 8
const MASK = 16
const OTHER = 32

/** As [tag, permissions, id]: one that is a mode, one with names, ones that are wrong. */
const acls = [
  [
    [USER_OBJ, 6, null],
    [GROUP_OBJ, 4, null],
    [OTHER, 0, null],
  ],
  [
    [USER_OBJ, 7, null],
    [USER, 7, 1000],
    [GROUP_OBJ, 5, null],
    [GROUP, 6, 1001],
    [MASK, 7, null],
    [OTHER, 1, null],
  ],
  [
    [USER_OBJ, 7, null],
    [USER, 4, 1001],
    [GROUP_OBJ, 7, null],
    [MASK, 5, null],
    [OTHER, 0, null],
  ],
  [[USER_OBJ, 7, null]],
  [],
]

type Maker = (dice: Dice) => Request

const fd = (dice: Dice) => dice.below(4)

const makers: readonly (readonly [weight: number, make: Maker])[] = [
  [
    12,
    d => ({
      op: 'open',
      fd: fd(d),
      path: somePath(d),
      flags:
        d.pick([O.RDONLY, O.WRONLY, O.RDWR, O.RDWR, O.RDWR]) |
        d.pick([O.CREAT, O.CREAT, O.CREAT, 0, O.CREAT | O.EXCL]) |
        d.pick([0, 0, 0, O.TRUNC, O.APPEND, O.DIRECTORY, O.NOFOLLOW, O.SYNC]) |
        // A FIFO without a partner would block for ever.
        O.NONBLOCK,
      mode: mode(d),
    }),
  ],
  [3, d => ({ op: 'close', fd: fd(d) })],
  [12, d => ({ op: 'pwrite', fd: fd(d), seed: d.below(1e6), offset: offset(d), length: length(d) })],
  [6, d => ({ op: 'write', fd: fd(d), seed: d.below(1e6), length: length(d) })],
  [10, d => ({ op: 'pread', fd: fd(d), offset: offset(d), length: length(d) })],
  [4, d => ({ op: 'read', fd: fd(d), length: length(d) })],
  [
    2,
    d => ({
      op: 'pwritev',
      fd: fd(d),
      seed: d.below(1e6),
      offset: offset(d),
      lengths: [length(d), length(d)],
    }),
  ],
  [2, d => ({ op: 'preadv', fd: fd(d), offset: offset(d), lengths: [length(d), length(d)] })],
  [5, d => ({ op: 'ftruncate', fd: fd(d), size: offset(d) })],
  [3, d => ({ op: 'truncate', path: somePath(d), size: offset(d) })],
  [
    5,
    d => ({
      op: 'fallocate',
      fd: fd(d),
      mode: d.pick([
        0,
        KEEP_SIZE,
        KEEP_SIZE | PUNCH_HOLE,
        KEEP_SIZE | PUNCH_HOLE,
        ZERO_RANGE,
        ZERO_RANGE | KEEP_SIZE,
        PUNCH_HOLE,
      ]),
      // Preallocation costs real space on the local side: keep it near.
      offset: offset(d) % (16 << 20),
      length: length(d),
    }),
  ],
  [
    3,
    d => ({
      op: 'copy_file_range',
      fd: fd(d),
      to: fd(d),
      offset: offset(d),
      to_offset: offset(d),
      length: length(d),
    }),
  ],
  [3, d => ({ op: 'lseek', fd: fd(d), offset: offset(d), whence: d.pick([0, 1, 2]) })],
  [2, d => ({ op: 'fsync', fd: fd(d) })],
  [3, d => ({ op: 'fstat', fd: fd(d) })],
  [4, d => ({ op: 'lstat', path: somePath(d) })],
  [2, d => ({ op: 'stat', path: somePath(d) })],
  [5, d => ({ op: 'mkdir', path: somePath(d), mode: mode(d) })],
  [2, d => ({ op: 'rmdir', path: somePath(d) })],
  [4, d => ({ op: 'unlink', path: somePath(d) })],
  [5, d => ({ op: 'rename', path: somePath(d), to: somePath(d) })],
  [3, d => ({ op: 'renameat2', path: somePath(d), to: somePath(d), flags: d.pick([0, 1, 2, 3, 8]) })],
  [4, d => ({ op: 'link', path: somePath(d), to: somePath(d) })],
  [
    3,
    d => ({
      op: 'symlink',
      target: d.pick(['a', 'dir', '../b', 'none', 'link', 'x'.repeat(4095), '']),
      path: somePath(d),
    }),
  ],
  [2, d => ({ op: 'readlink', path: somePath(d) })],
  [
    2,
    d => ({
      op: 'mknod',
      path: somePath(d),
      mode: d.pick([0o010000, 0o140000, 0o020000, 0o060000, 0o100000]) | 0o640,
      rdev: 0x103,
    }),
  ],
  [3, d => ({ op: 'chmod', path: somePath(d), mode: mode(d) })],
  [2, d => ({ op: 'chown', path: somePath(d), uid: d.pick([0, 1000, -1]), gid: d.pick([0, 1000, -1]) })],
  [3, d => ({ op: 'listdir', path: d.pick(dirs) })],
  [
    3,
    d => ({
      op: 'setxattr',
      path: somePath(d),
      name: d.pick(['user.a', 'user.b', 'trusted.t', 'bogus.x']),
      seed: d.below(9),
      length: d.pick([0, 1, 50, 1000]),
      flags: d.pick([0, 0, 1, 2]),
    }),
  ],
  [
    2,
    d => ({ op: 'getxattr', path: somePath(d), name: d.pick(['user.a', 'user.b', 'trusted.t', 'bogus.x']) }),
  ],
  [1, d => ({ op: 'listxattr', path: somePath(d) })],
  [1, d => ({ op: 'removexattr', path: somePath(d), name: d.pick(['user.a', 'user.b']) })],
  [2, d => ({ op: 'mmap_read', fd: fd(d), offset: d.pick([0, 4096]), length: 4096 })],
  [
    2,
    d => ({
      op: 'mmap_write',
      fd: fd(d),
      offset: 0,
      length: 4096,
      at: d.below(4000),
      count: 50,
      seed: d.below(1e6),
    }),
  ],
  [
    2,
    d => ({
      op: 'open',
      fd: fd(d),
      path: d.pick(dirs),
      flags: d.pick([O.RDWR, O.WRONLY, O.RDONLY]) | O.TMPFILE | d.pick([0, 0, O.EXCL]),
      mode: mode(d),
    }),
  ],
  [2, d => ({ op: 'link_fd', fd: fd(d), path: '', to: somePath(d) })],
  [2, d => ({ op: 'pwrite_direct', fd: fd(d), seed: d.below(1e6), ...blocks(d) })],
  [2, d => ({ op: 'pread_direct', fd: fd(d), ...blocks(d) })],
  [1, d => ({ op: 'mmap_private', fd: fd(d), offset: d.pick([0, 4096]), length: 4096 })],
  [8, d => ({ op: 'changed', path: somePath(d) })],
  [3, d => ({ op: 'changed', path: d.pick(dirs) })],
  [4, d => ({ op: 'fchanged', fd: fd(d) })],
  [1, d => ({ op: 'fchmod', fd: fd(d), mode: mode(d) })],
  [1, d => ({ op: 'fdatasync', fd: fd(d) })],
  [2, d => ({ op: 'access', path: somePath(d), mode: d.below(8) })],
  [2, d => ({ op: 'utimens', path: somePath(d), atime: time(d), mtime: time(d) })],
  [1, d => ({ op: 'umask', mask: d.pick([0, 0o022, 0o077, 0o027]) })],
  [
    3,
    d =>
      d.pick([
        { op: 'become', uid: 0, gid: 0 },
        { op: 'become', uid: 0, gid: 0 },
        { op: 'become', uid: 1000, gid: 1000 },
        { op: 'become', uid: 1000, gid: 1001, groups: [1000, 7] },
        { op: 'become', uid: 1001, gid: 1001, groups: [1000] },
      ]),
  ],
  [
    2,
    d => ({
      op: 'setacl',
      path: d.pick([somePath(d), d.pick(dirs)]),
      name: d.pick(['system.posix_acl_access', 'system.posix_acl_default']),
      acl: d.pick(acls),
    }),
  ],
  [
    1,
    d => ({
      op: 'getxattr',
      path: somePath(d),
      name: d.pick(['system.posix_acl_access', 'system.posix_acl_default']),
    }),
  ],
  [
    1,
    d => ({
      op: 'removexattr',
      path: somePath(d),
      name: d.pick(['system.posix_acl_access', 'system.posix_acl_default']),
    }),
  ],
  [
    4,
    d => ({
      op: 'lock',
      fd: fd(d),
      cmd: d.pick(['get', 'set', 'set', 'ofd_get', 'ofd_set', 'ofd_set']),
      type: d.pick(['read', 'write', 'unlock']),
      whence: d.pick([0, 0, 0, 1, 2]),
      start: d.pick([0, 1, 10, 100, -5, 2 ** 40]),
      len: d.pick([0, 1, 10, 90, -3]),
    }),
  ],
  [1, d => ({ op: 'flock', fd: fd(d), how: d.pick([1 | 4, 2 | 4, 8]) })],
]

const total = makers.reduce((sum, [weight]) => sum + weight, 0)

/** The next random system call. */
export function randomCall(dice: Dice): Request {
  let at = dice.below(total)
  for (const [weight, make] of makers) {
    if (at < weight) return make(dice)
    at -= weight
  }
  throw new Error('unreachable')
}
