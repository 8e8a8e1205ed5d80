/**
 * What is otherwise than on ext4 on a mount by the driver fuse-native, in the stories of test/support/scenarios.py and
 * scenarios_edges.py: what each brings there, of what it brings on ext4. As native-differences.ts, which see.
 */
export interface StoryDifference {
  /** Titles of the rows in docs/operations.md that tell operators. */
  readonly rows: readonly string[]
  /** What it brings, of what it brings on ext4; `anyCount` where chance decides. */
  readonly becomes: (local: never) => unknown
  /** That it may come out as on ext4, too. */
  readonly byChance?: true
}

/** Stands for a number of 0 or more. */
export const anyCount = '(a count)'

const otherUsers = 'other users'
const times = '`utimensat`, `touch`'
const holes = '`fallocate`, `SEEK_DATA`, `SEEK_HOLE`'
const flags = '`renameat2` with flags, `O_TMPFILE`'
const removed = 'a removed directory that is open, `O_PATH`'
const bytes = 'names that are not UTF-8'
const devices = 'devices and programs with set-user-ID'
const links = 'hard links'
const chownNothing = '`chown` that names neither user nor group'
const privileges = 'set-group-ID without group execution'
const acls = 'default ACLs'

/** It ends with this errno, at what cannot be done there. */
const ends = (code: string) => (): unknown => ({ failed: code })

/** With other values at some places: a place is the indices that lead there, such as `16.1`. */
function changed(local: unknown, values: Readonly<Record<string, unknown>>): unknown {
  const out = structuredClone(local)
  for (const [place, value] of Object.entries(values)) {
    const steps = place.split('.').map(Number)
    const last = steps.pop() ?? 0
    let at = out as unknown[]
    for (const step of steps) at = at[step] as unknown[]
    at[last] = value
  }
  return out
}

/** Mode and ACL of what was made in a folder with a default ACL, had the umask been applied. */
function masked([mode, access, inherited]: [string, string, string], umask: number): unknown {
  const shifts: Readonly<Record<string, number>> = { '0100': 6, '1000': 3, '2000': 0 }
  const acl = access.replace(/(0100|1000|2000)0([0-7])00ffffffff/g, (_entry, tag: string, bits: string) => {
    const left = Number(bits) & ~(umask >> (shifts[tag] ?? 0))
    return `${tag}0${String(left)}00ffffffff`
  })
  return [`0o${(Number(mode) & ~umask).toString(8)}`, acl, inherited]
}

const fileMode = (mode: string): string => `0o10${mode.slice(2)}`

export const storyDifferences: Readonly<Record<string, StoryDifference>> = {
  privileges_after_writes: {
    rows: [otherUsers],
    becomes: (local: [mode: string, who: string, how: string, result: string, after: string][]) =>
      local.map(row => (row[1] === 'root' ? row : [row[0], row[1], row[2], 'EACCES', fileMode(row[0])])),
  },
  setgid_directories: {
    rows: [otherUsers, flags],
    becomes: (local: unknown[]) => ['EACCES', 'EACCES', 'ENOTSUP', ...local.slice(-5)],
  },
  unlinked_but_open: { rows: [removed], becomes: ends('ENOENT') },
  unlinked_and_only_referred_to: { rows: [removed], becomes: ends('ENOENT') },
  removed_directories: { rows: [removed], becomes: ends('ENOENT') },
  files_without_names: { rows: [flags], becomes: ends('ENOTSUP') },
  links: {
    rows: [links],
    becomes: (local: unknown[]) => local.map((count, n) => (n < 20 ? anyCount : count)),
  },
  renames_under_lookups: {
    rows: ['`rename` over a name that others open'],
    byChance: true,
    becomes: () => [
      [anyCount, 0],
      [anyCount, 0],
    ],
  },
  holes: { rows: [holes], becomes: ends('ENOTSUP') },
  far_out: { rows: [holes], becomes: local => changed(local, { 5: false }) },
  birth_and_change: { rows: ['birth times'], becomes: local => changed(local, { 0: false, 4: false }) },
  access_times: { rows: [times], becomes: ends('ENOSYS') },
  times_survive: { rows: [times], becomes: ends('ENOSYS') },
  special_files: { rows: [devices], becomes: ends('EACCES') },
  every_name: { rows: [bytes], becomes: ends('EINVAL') },
  odd_files: { rows: [devices], becomes: local => changed(local, { 12: 'EACCES', 13: 'EACCES' }) },
  which_times_move: {
    rows: [times, links, chownNothing, holes],
    becomes: local =>
      changed(local, {
        ...{ '2.3': '---', '3.3': '---', '7.1': '---', '15.1': 'amc' },
        ...{ 16: ['ENOTSUP', '---', '---'], 17: ['ENOTSUP', '---', '---'] },
        ...{ 26: ['ENOSYS', '---', '---'], 27: ['ENOSYS', '---', '---'], 28: ['ENOSYS', '---', '---'] },
      }),
  },
  times_that_are_set: {
    rows: [times, otherUsers],
    becomes: (local: unknown[]) =>
      local.map((row, n) => {
        if (n < 9) return ['ENOSYS', anyCount, anyCount]
        if (n < 12) return row
        // utimensat(2) that is to change nothing never asks.
        if (n < 32) return (n - 12) % 5 === 3 ? row : 'EACCES'
        return n === 32 ? 'ENOSYS' : false
      }),
  },
  xattrs_and_their_limits: {
    rows: [bytes],
    becomes: (local: unknown[]) =>
      changed(local, {
        9: 'EINVAL',
        35: (local[35] as string[]).filter(name => !name.includes('\udcff')),
      }),
  },
  xattrs_by_kind_and_user: {
    rows: [otherUsers],
    becomes: (local: [kind: string, name: string, user: number, results: unknown][]) =>
      local.map(row => (row[2] === 0 ? row : [row[0], row[1], row[2], 'EACCES'])),
  },
  renames_by_flags: {
    rows: [flags],
    becomes: () => [
      ...['EEXIST', 'EINVAL', 'EINVAL', 'EEXIST', 'EINVAL', 'EINVAL', 'EINVAL', 'EINVAL', 'EINVAL', 'EINVAL'],
      ...[
        'ENOENT',
        'ENOENT',
        'EINVAL',
        'EINVAL',
        'EINVAL',
        'ENOENT',
        'ENOENT',
        'ENOTDIR',
        0,
        'EINVAL',
        'EINVAL',
      ],
      ['a', '0o100644', 0, 0, 1],
      ['b', '0o100644', 0, 0, 2],
      ['b2', '0o100644', 0, 0, 2],
      ['k', '0o40755', 0, 0, 3],
    ],
  },
  sticky_directories: {
    rows: [otherUsers],
    becomes: (local: unknown[][]) => local.map(row => [...row.slice(0, -1), 'EACCES']),
  },
  chown_of_what_has_privileges: {
    rows: [otherUsers],
    becomes: (
      local: [
        kind: string,
        mode: string,
        user: number,
        ids: unknown,
        result: unknown,
        mode: string,
        gid: number,
      ][],
    ) =>
      local.map(row => {
        const [kind, mode, user, ids, , after] = row
        if (user === 0) return row
        return [kind, mode, user, ids, 'EACCES', after.slice(0, -4) + mode.slice(2), 65534]
      }),
  },
  rights_one_by_one: {
    rows: [otherUsers],
    becomes: (local: [bits: number, shift: number, results: unknown[]][]) =>
      local.map(([bits, shift, results]) => [bits, shift, results.map(() => 'EACCES')]),
  },
  what_takes_privileges: {
    rows: [otherUsers, times, holes],
    becomes: (
      local: [
        mode: string,
        user: number,
        groups: unknown,
        act: string,
        result: unknown,
        after: unknown,
        size: unknown,
      ][],
    ) =>
      local.map(row => {
        const [mode, user, groups, act] = row
        const refusal = user !== 0 ? 'EACCES' : { punch: 'ENOTSUP', utime: 'ENOSYS' }[act]
        return refusal === undefined ? row : [mode, user, groups, act, refusal, fileMode(mode), 20]
      }),
  },
  root_without_its_capabilities: {
    rows: [privileges],
    becomes: local => changed(local, { '3.2': '0o102700', '4.2': '0o102700', '5.2': '0o102700' }),
  },
  acls_and_who_they_let_in: {
    rows: [otherUsers, acls],
    becomes: (local: [mode: string, access: string, inherited: string][]) =>
      local.map((row, n) => {
        if (n < 7) return ['EACCES', 'EACCES', 'EACCES', false]
        const mask = n < 14 ? 0 : n < 18 ? 0o022 : 0o777
        // What was made with this umask: a directory, a file, a FIFO, and then a symlink, which has no ACL.
        return n >= 14 && n < 22 && n % 4 !== 1 ? masked(row, mask) : row
      }),
  },
  limits_of_processes: { rows: [holes], becomes: local => changed(local, { 4: 'ENOTSUP', 5: 'ENOTSUP' }) },
  locks_split_and_merge: { rows: [links], becomes: local => changed(local, { 12: 'ok' }) },
}
