import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import path from 'node:path'
import { messageOf, UsageError } from '../core/errors.ts'
import { type MountLine, parseMountTable } from '../fuse/mounter/mount-table.ts'

const cairnType = 'fuse.cairn'

function cairnMounts(): MountLine[] {
  return parseMountTable(readFileSync('/proc/self/mountinfo', 'utf8')).filter(
    mount => mount.type === cairnType,
  )
}

/** The Cairn mount at exactly this path (the topmost, if mounts are stacked). */
export function mountAt(target: string): MountLine | undefined {
  const absolute = path.resolve(target)
  return cairnMounts().findLast(mount => mount.path === absolute)
}

/**
 * Whether something waits at exactly this path to mount there on demand, as systemd does for x-systemd.automount. Then
 * only its own process group may touch the path before the mount is there; all others wait for it.
 */
export function isAutomountPoint(target: string): boolean {
  const absolute = path.resolve(target)
  const table = parseMountTable(readFileSync('/proc/self/mountinfo', 'utf8'))
  return table.findLast(mount => mount.path === absolute)?.type === 'autofs'
}

/** The Cairn mount that a path lies on. */
export function mountOf(target: string): MountLine {
  const device = deviceNumber(stat(target).dev)
  const found = cairnMounts().findLast(mount => mount.device === device)
  if (found === undefined) throw new UsageError(`${target} is not on a Cairn mount`)
  return found
}

/** The inode's number, which on a mount is its number in the cluster. Does not follow a symlink. */
export function inodeOf(target: string): bigint {
  mountOf(target)
  return stat(target).ino
}

/**
 * Processes of other mount namespaces (containers, say) in which the mount of this device number lies, one of each:
 * it was copied when the namespace was made, and umount(8) here does not take it away there.
 */
export function holdersElsewhere(device: string): number[] {
  const holders = new Map<string, number>()
  const ours = readlinkSync('/proc/self/ns/mnt')
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid)) continue
    try {
      const namespace = readlinkSync(`/proc/${entry}/ns/mnt`)
      if (namespace === ours || holders.has(namespace)) continue
      const table = parseMountTable(readFileSync(`/proc/${entry}/mountinfo`, 'utf8'))
      if (table.some(mount => mount.device === device && mount.type === cairnType))
        holders.set(namespace, pid)
    } catch {
      // It has ended, or is not for us to look into.
    }
  }
  return [...holders.values()]
}

function stat(target: string): { readonly dev: bigint; readonly ino: bigint } {
  try {
    return lstatSync(target, { bigint: true })
  } catch (error) {
    throw new UsageError(messageOf(error))
  }
}

/** dev_t as MAJ:MIN; the encoding is glibc's gnu_dev_major and gnu_dev_minor. */
function deviceNumber(dev: bigint): string {
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn)
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn)
  return `${major.toString()}:${minor.toString()}`
}
