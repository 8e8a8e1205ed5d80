/**
 * What is otherwise than on ext4 on a mount by the driver fuse-native, in the table of test/support/conformance.py: which
 * cases, what comes of them, and why. conformance-native.test.ts holds a mount to it both ways: what is not listed here
 * must be as on ext4, and what is listed must occur. Each belongs to a row of the table in docs/operations.md.
 */
export interface Outcome {
  /** An errno by name, a value, or null for a call without one. */
  readonly result: unknown
  readonly changes: Changes
}

/** By name in the folder: that it is gone, or its attributes if they changed, and which of its times moved. */
type Changes = Readonly<Record<string, 'gone' | readonly [Attributes | null, string]>>

interface Attributes {
  readonly nlink: number
}

/** Where a case of the table is in its product of users, kinds of objects, places and operations. */
export interface TableCase {
  readonly user: string
  readonly kind: string
  readonly place: string
  readonly operation: string
}

export interface Difference {
  /** Title of the row that tells operators. */
  readonly row: string
  readonly why: string
  /** A case that must come out otherwise than on ext4, whichever share is carried out. */
  readonly example: string
  /** What may come of a case that comes out so on ext4, or nothing if it is not concerned. */
  readonly becomes: (of: TableCase, local: Outcome) => readonly Outcome[]
}

export function tableCaseOf(name: string): TableCase {
  const [user = '', kind = '', place = '', operation = ''] = name.split(' ')
  return { user, kind, place, operation }
}

/** What may come of a case on such a mount: what comes of it on ext4, if no difference concerns it. */
export function expectedOnNative(of: TableCase, local: Outcome): readonly Outcome[] {
  for (const { becomes } of differences) {
    const outcomes = becomes(of, local)
    if (outcomes.length > 0) return outcomes
  }
  return [local]
}

const isMounter = (user: string): boolean => user === 'root' || user === 'root-of-others'
const failed = (result: unknown): boolean => typeof result === 'string' && /^E[A-Z0-9]+$/.test(result)

/** An operation of root that succeeds on ext4. */
const succeeds = (operations: ReadonlySet<string>, { user, operation }: TableCase, local: Outcome): boolean =>
  isMounter(user) && operations.has(operation) && !failed(local.result)

/** What of it the way to the object leaves behind: the access times of symlinks. */
const onTheWay = (changes: Changes): Changes =>
  keep(changes, change => change[0] === null && change[1] === 'a--')

const keep = (changes: Changes, wanted: (change: Changes[string]) => boolean): Changes =>
  Object.fromEntries(Object.entries(changes).filter(([, change]) => wanted(change)))

const refused =
  (operations: ReadonlySet<string>, code: string): Difference['becomes'] =>
  (of, local) =>
    succeeds(operations, of, local) ? [{ result: code, changes: onTheWay(local.changes) }] : []

/** What the kernel, or libc, answers before it looks at the path. */
const neverAsks = new Set([
  'creat-dir',
  'mknod-dir',
  'rename-flags',
  'symlink-4096',
  'symlink-empty',
  'truncate-negative',
  'utimens-omit',
])
/** Those that come to the object's path after another's. */
const otherFirst = new Set(['link-to', 'rename-file-to', 'rename-dir-to'])
/** Those that make the path longer before they hand it over. */
const withDots = new Set(['rename-dot', 'rmdir-dot', 'rmdir-dotdot', 'unlink-dot'])
const setTimes = new Set([
  'utimens-null',
  'utimens-now',
  'utimens-set',
  'utimens-past',
  'utimens-future',
  'utimens-follow',
])
const setOneTime = new Set(['utimens-atime', 'utimens-mtime-now'])
const chownNothing = new Set(['chown-nothing', 'chown-follow'])
const makeLinks = new Set(['link-from', 'link-follow', 'link-to', 'rename-hardlinks'])
/** Those that open the object. */
const open = new Set([
  ...[
    'open-r',
    'open-w',
    'open-rw',
    'write',
    'write-nothing',
    'append',
    'creat',
    'creat-r',
    'trunc',
    'trunc-r',
  ],
  ...['nofollow', 'noatime', 'fchmod', 'ftruncate', 'ftruncate-same', 'ftruncate-r'],
  ...['fallocate', 'fallocate-keep', 'fallocate-r', 'punch', 'zero'],
])

/** The first that concerns a case counts. */
export const differences: readonly Difference[] = [
  {
    row: 'other users',
    why: 'fuse-native does not tell who calls: allowed in, all would act as the user who mounts',
    example: 'owner file plain stat',
    becomes({ user, place, operation }, local) {
      if (isMounter(user)) return []
      const isNoPath = (place === 'empty' || place === 'too-long-path') && !otherFirst.has(operation)
      const becomesTooLong = place === 'longest-path' && withDots.has(operation)
      if (neverAsks.has(operation) || isNoPath || becomesTooLong) return [local]
      return [{ result: operation.startsWith('access-') ? false : 'EACCES', changes: {} }]
    },
  },
  {
    row: 'devices and programs with set-user-ID',
    why: 'libfuse mounts with nodev and nosuid',
    example: 'root device plain open-r',
    becomes({ user, kind, place, operation }) {
      const opens = isMounter(user) && kind === 'device' && place === 'plain' && open.has(operation)
      return opens ? [{ result: 'EACCES', changes: {} }] : []
    },
  },
  {
    row: '`utimensat`, `touch`',
    why: 'fuse-native hands over the access time twice, so the operation is left out',
    example: 'root file plain utimens-set',
    becomes: refused(setTimes, 'ENOSYS'),
  },
  {
    row: '`utimensat`, `touch`',
    why: 'libfuse asks for it only with both times, and answers 0 without having asked',
    example: 'root file plain utimens-atime',
    becomes: (of, local) =>
      succeeds(setOneTime, of, local) ? [{ result: local.result, changes: onTheWay(local.changes) }] : [],
  },
  {
    row: '`chown` that names neither user nor group',
    why: 'libfuse answers it without having asked',
    example: 'root file plain chown-nothing',
    becomes(of, { result, changes }) {
      if (!succeeds(chownNothing, of, { result, changes })) return []
      // Where it takes privileges away the kernel asks for another mode, which moves the time.
      return [{ result, changes: keep(changes, change => change[0] !== null || change[1] !== '--c') }]
    },
  },
  {
    row: '`renameat2` with flags, `O_TMPFILE`',
    why: 'not among the operations of libfuse 2',
    example: 'root file plain rename-exchange',
    becomes: refused(new Set(['rename-noreplace-new', 'rename-exchange']), 'EINVAL'),
  },
  {
    row: '`renameat2` with flags, `O_TMPFILE`',
    why: 'not among the operations of libfuse 2',
    example: 'root dir plain tmpfile',
    becomes: refused(new Set(['tmpfile']), 'ENOTSUP'),
  },
  {
    row: '`fallocate`, `SEEK_DATA`, `SEEK_HOLE`',
    why: 'not among the operations of fuse-native; posix_fallocate(3) then writes',
    example: 'root file plain punch',
    becomes: refused(new Set(['fallocate-keep', 'punch', 'zero']), 'ENOTSUP'),
  },
  {
    row: 'hard links',
    why: 'libfuse takes each name for a file of its own, whose attributes the kernel believes for a second',
    example: 'root file plain link-from',
    becomes(of, { result, changes }) {
      if (!succeeds(makeLinks, of, { result, changes })) return []
      const { operation, place } = of
      const object = place === 'long' ? 'n'.repeat(8) : 'T'
      const fresh = operation === 'link-from' || operation === 'link-follow' ? 'new' : object
      const shown = Object.entries(changes).map(([name, change]): [string, Changes[string]] => {
        return [name, name === fresh && change !== 'gone' ? [change[0], 'amc'] : change]
      })
      if (operation === 'rename-hardlinks') return [{ result, changes: Object.fromEntries(shown) }]
      // The other name, as it was or as it is.
      const stale = shown.filter(([name, change]) => name === '.' || name === fresh || change[1] !== '--c')
      return [stale, shown].map(entries => ({ result, changes: Object.fromEntries(entries) }))
    },
  },
]
