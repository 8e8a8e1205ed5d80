/** Attaches an open device to a path, by way of mount(8), and takes it off again. */
import { lstat, readdir, realpath, statfs, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { Log } from '../../core/env.ts'
import { messageOf, UsageError } from '../../core/errors.ts'
import { attachOptions, type MountOptions } from './mount-options.ts'
import { controlFolder, mountedAt, type MountLine } from './mount-table.ts'
import { runTool } from './run-tool.ts'

const fileSystemType = 'fuse.cairn'

/**
 * In /sys/class/bdi: larger than the kernel's 128 KiB, so that sequential reads come in full requests, and several
 * of them while a program works on what it has.
 */
const readAheadKib = 4096

const codeOf = (thrown: unknown): string | undefined => (thrown as NodeJS.ErrnoException).code

/** The canonical path. Of a dead mount point only the parent can be asked. */
async function canonical(path: string): Promise<string> {
  const absolute = resolve(path)
  try {
    return await realpath(absolute)
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') throw new UsageError(`mount point ${path} does not exist`)
    if (codeOf(thrown) === 'ENOTDIR') throw new UsageError(`mount point ${path} is not a directory`)
    if (codeOf(thrown) !== 'ENOTCONN' && codeOf(thrown) !== 'ECONNABORTED') {
      throw new UsageError(`cannot use mount point ${path}: ${messageOf(thrown)}`)
    }
    return join(await realpath(dirname(absolute)), basename(absolute))
  }
}

/** A dead mount answers at once; one that takes longer waits for something. */
const deadWithinMs = 2000

/** Whether the process behind a mount has gone. The kernel may still answer stat(2) itself, but not statfs(2). */
async function isDead(path: string): Promise<boolean> {
  try {
    await Promise.race([statfs(path), sleep(deadWithinMs)])
    return false
  } catch (thrown) {
    return codeOf(thrown) === 'ENOTCONN' || codeOf(thrown) === 'ECONNABORTED'
  }
}

/**
 * Checks a mount point and gives its canonical path; dead mounts of ours that lie on it are cleared first.
 * UsageError if it cannot be mounted on.
 */
export async function prepareMountPoint(path: string, options: MountOptions, log: Log): Promise<string> {
  if (process.getuid?.() !== 0) {
    throw new UsageError('mounting needs root: run it with sudo')
  }
  const target = await canonical(path)
  for (;;) {
    const mounted = await mountedAt(target)
    // An automount point has asked for this mount, and is covered by it.
    if (mounted === undefined || mounted.type === 'autofs') break
    if (mounted.type !== fileSystemType || !(await isDead(target))) {
      throw new UsageError(`${path} is a mount point already (${mounted.type} ${mounted.source})`)
    }
    log.warn('clears a dead mount', { path: target, source: mounted.source })
    await unmount(target, { lazy: true })
  }
  if (!(await lstat(target)).isDirectory()) throw new UsageError(`mount point ${path} is not a directory`)
  if (!options.nonempty && (await readdir(target)).length > 0) {
    throw new UsageError(`mount point ${path} is not empty (mount over it with -o nonempty)`)
  }
  return target
}

/** Mounts the device of descriptor `fd`; `source` is what /proc/mounts shows as the device. */
export async function attach(
  fd: number,
  source: string,
  target: string,
  options: MountOptions,
): Promise<MountLine> {
  const args = ['-i', '-c', '-t', fileSystemType, '-o', attachOptions(options), '--', source, target]
  await runTool('mount', args, fd)
  const mount = await mountedAt(target)
  if (mount?.type !== fileSystemType)
    throw new UsageError(`${target} was unmounted while it was being mounted`)
  return mount
}

/** Best effort, and done by systemd nearly everywhere: the guardian aborts dead connections through it. */
export async function mountControl(log: Log): Promise<void> {
  if ((await mountedAt(controlFolder)) !== undefined) return
  try {
    await runTool('mount', ['-t', 'fusectl', 'fusectl', controlFolder])
  } catch (thrown) {
    log.info('cannot abort connections', { folder: controlFolder, error: messageOf(thrown) })
  }
}

/** Best effort: without it reads are slower, not wrong. */
export async function setReadAhead(mount: MountLine, log: Log): Promise<void> {
  const file = `/sys/class/bdi/${mount.device}/read_ahead_kb`
  try {
    await writeFile(file, String(readAheadKib))
  } catch (thrown) {
    log.info('the kernel reads ahead only 128 KiB', { file, error: messageOf(thrown) })
  }
}

/** Unmounts; lazily, it vanishes from the tree at once and ends when the last file is closed. UsageError if busy. */
export async function unmount(path: string, { lazy }: { readonly lazy: boolean }): Promise<void> {
  await runTool('umount', ['-i', '-c', ...(lazy ? ['-l'] : []), '--', path])
}
