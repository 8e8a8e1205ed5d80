import { lstatSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { UsageError } from '../core/errors.ts'

/** One line of /proc/self/mountinfo (see proc(5)). */
export interface MountLine {
  readonly id: number
  readonly device: string
  readonly path: string
  readonly type: string
  readonly source: string
}

export function readMounts(): MountLine[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter(line => line !== '')
    .map(parseLine)
}

function parseLine(line: string): MountLine {
  const [left = '', right = ''] = line.split(' - ', 2)
  const fields = left.split(' ')
  const [type = '', source = ''] = right.split(' ')
  return {
    id: Number(fields[0]),
    device: fields[2] ?? '',
    path: unescapeOctal(fields[4] ?? ''),
    type,
    source: unescapeOctal(source),
  }
}

/** The kernel writes blanks, tabs, newlines and backslashes as \ooo. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}

export const cairnMountType = 'fuse.cairn'

/** The Cairn mount at exactly this path (the topmost, if mounts are stacked). */
export function mountAt(target: string): MountLine | undefined {
  const absolute = path.resolve(target)
  return readMounts().findLast(mount => mount.path === absolute && mount.type === cairnMountType)
}

/** The Cairn mount that a path lies on. */
export function mountOf(target: string): MountLine {
  const device = deviceOf(target)
  const found = readMounts().findLast(mount => mount.device === device && mount.type === cairnMountType)
  if (found === undefined) throw new UsageError(`${target} is not on a Cairn mount`)
  return found
}

function deviceOf(target: string): string {
  let dev: bigint
  try {
    dev = lstatSync(target, { bigint: true }).dev
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
  // glibc's encoding of dev_t: gnu_dev_major and gnu_dev_minor.
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn)
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn)
  return `${major.toString()}:${minor.toString()}`
}

/** The inode's number, which on a mount is its number in the cluster. Does not follow a symlink. */
export function inodeOf(target: string): bigint {
  mountOf(target)
  return lstatSync(target, { bigint: true }).ino
}
