import type { Command } from 'commander'
import type { Network } from '../../core/network.ts'
import type { LockInfo } from '../../wire/gen/cairn/v1/admin.ts'
import { adminLocks } from '../../wire/services.ts'
import { ask } from '../admin-client.ts'
import { type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import { inodeOf, mountOf } from '../mounts.ts'
import { duration, print, printJson, printTable } from '../output.ts'
import { pathText, visible } from '../terminal.ts'

interface Options extends ClusterOptions {
  readonly limit: number
  readonly mount?: number
  readonly json?: boolean
}

export function registerLock(
  program: Command,
  network: () => Promise<Network>,
  wholeNumber: (name: string, min: number, max: number) => (text: string) => number,
): void {
  const lock = program.command('lock').description('file locks of programs: fcntl(2) and flock(2)')
  withCluster(lock.command('ls'))
    .description('who holds a lock, and who waits for one')
    .argument('[path]', 'only of this file on a mount')
    .option(
      '--mount <n>',
      'only of this mount, as cairn mount ls shows it',
      wholeNumber('--mount', 1, Number.MAX_SAFE_INTEGER),
    )
    .option('--limit <n>', 'list at most this many', wholeNumber('--limit', 1, 2000), 200)
    .option('--json', 'print it as JSON')
    .action(async (target: string | undefined, options: Options) => {
      const address = masterAddress(options, target === undefined ? undefined : () => mountOf(target).source)
      const { locks, more } = await ask(await network(), address, adminLocks, {
        ino: target === undefined ? 0n : inodeOf(target),
        session: BigInt(options.mount ?? 0),
        limit: options.limit,
      })
      if (options.json === true) printJson({ locks: locks.map(asJson), more })
      else {
        show(locks)
        if (more) print('There are more: see --limit.')
      }
    })
}

const toEnd = (1n << 64n) - 1n

function asJson(lock: LockInfo): object {
  const { ino, session, host, mountpoint, pid, flock, exclusive, start, end, waiting, waitedMs } = lock
  return {
    ...{ path: Buffer.from(lock.path).toString(), ino, mount: session, host, mountpoint, pid },
    ...{ kind: flock ? 'flock' : 'fcntl', access: exclusive ? 'write' : 'read' },
    ...{ start, end: end >= toEnd ? null : end, state: waiting ? 'waiting' : 'held', waitedMs },
  }
}

function show(locks: readonly LockInfo[]): void {
  printTable(
    ['Path', 'State', 'Kind', 'Access', 'Bytes', 'Process', 'Mount', 'Machine'],
    locks.map(lock => [
      lock.path.length === 0 ? `inode ${lock.ino.toString()}` : pathText(lock.path),
      lock.waiting ? `waits for ${duration(Number(lock.waitedMs))}` : 'held',
      lock.flock ? 'flock' : 'fcntl',
      lock.exclusive ? 'write' : 'read',
      lock.flock ? 'all' : rangeOf(lock),
      lock.pid === 0 ? '' : String(lock.pid),
      `${lock.session.toString()} (${visible(lock.mountpoint)})`,
      visible(lock.host),
    ]),
  )
}

const rangeOf = ({ start, end }: LockInfo): string =>
  end >= toEnd ? (start === 0n ? 'all' : `from ${String(start)}`) : `${String(start)} to ${String(end)}`
