import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { errno, messageOf, NotStoredError, UsageError } from '../../core/errors.ts'
import { minute, second } from '../../core/units.ts'
import { processStart } from '../local/layout.ts'
import { holdersElsewhere, mountAt } from '../mounts.ts'
import { print, printJson } from '../output.ts'
import { MountRegistry } from '../local/mount-registry.ts'
import { syncMount } from './sync.ts'

/** More than the mount process tries to store what cannot be stored. */
const patienceMs = 3 * minute
/** So long after umount(8) the mount process ends, or has a reason not to. */
const releaseMs = 1 * second

interface Options {
  readonly lazy?: boolean
  readonly json?: boolean
}

export function registerUmount(program: Command): void {
  program
    .command('umount')
    .description('write back and unmount; returns when the mount process has ended')
    .argument('<path>', 'where it is mounted')
    .option('-l, --lazy', 'detach now, also when files are open or the mount does not answer')
    .option('--json', 'print the result as JSON')
    .action(async (target: string, options: Options) => {
      const mountpoint = path.resolve(target)
      const mount = mountAt(mountpoint)
      if (mount === undefined) throw new UsageError(`${mountpoint} is not a Cairn mount`)
      const registry = new MountRegistry()
      const owner = registry.find(mount.device)
      if (options.lazy !== true) await writeBack(mountpoint)
      unmount(mountpoint, options.lazy === true)
      if (owner !== undefined && options.lazy !== true) {
        const started = Date.now()
        while (processStart(owner.pid) === owner.started) {
          const elsewhere = Date.now() - started > releaseMs ? holdersElsewhere(mount.device) : []
          if (elsewhere.length > 0) {
            const processes = elsewhere.map(pid => `process ${String(pid)}`).join(', ')
            process.stderr.write(
              `cairn: it is still mounted in other mount namespaces (of ${processes}), and goes on there\n`,
            )
            break
          }
          if (Date.now() - started > patienceMs)
            throw new UsageError(`unmounted, but process ${String(owner.pid)} has not ended: see its log`)
          await sleep(20)
        }
        const loss = registry.takeLoss(owner)
        if (loss !== undefined)
          throw new NotStoredError(
            `unmounted, but not everything written on ${mountpoint} could be stored: ${loss}`,
          )
      }
      if (options.json === true) printJson({ mount: mountpoint, state: 'unmounted' })
      else print(`${mountpoint}: unmounted`)
    })
}

async function writeBack(mountpoint: string): Promise<void> {
  try {
    await syncMount(mountpoint)
  } catch (error) {
    // ENOTCONN: the mount process is dead; there is nothing to write back, only to clear.
    if (error instanceof Error && 'code' in error && error.code === 'ENOTCONN') return
    // So it is where its identity was revoked: its process tells what is lost when it ends.
    if (error instanceof Error && 'errno' in error && error.errno === -errno.EKEYREVOKED) return
    throw new NotStoredError(
      `${mountpoint} could not be written back (${messageOf(error)}), so it stays mounted; --lazy gives it up`,
    )
  }
}

function unmount(mountpoint: string, lazy: boolean): void {
  const command = process.getuid?.() === 0 ? ['umount', '-i'] : ['fusermount3', '-u']
  const args = lazy
    ? [...command, command[0] === 'umount' ? '-l' : '-z', mountpoint]
    : [...command, mountpoint]
  const result = spawnSync(args[0] ?? '', args.slice(1), { encoding: 'utf8' })
  if (result.status === 0) return
  if (process.getuid?.() !== 0) throw new UsageError(`cannot unmount ${mountpoint}: run it with sudo`)
  const reason = result.error?.message ?? result.stderr.trim().split('\n').at(-1) ?? ''
  throw new UsageError(`cannot unmount ${mountpoint}: ${reason}`)
}
