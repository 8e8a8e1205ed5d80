import type { Command } from 'commander'
import type { Network } from '../../core/network.ts'
import type { LeaseInfo } from '../../wire/gen/cairn/v1/admin.ts'
import { adminLeases } from '../../wire/services.ts'
import { ask } from '../admin-client.ts'
import { type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import { inodeOf, mountOf } from '../mounts.ts'
import { duration, print, printJson, printTable } from '../output.ts'
import { pathText, visible } from '../terminal.ts'

interface Options extends ClusterOptions {
  readonly limit: number
  readonly mount?: number
  readonly waited?: boolean
  readonly json?: boolean
}

export function registerLease(
  program: Command,
  network: () => Promise<Network>,
  wholeNumber: (name: string, min: number, max: number) => (text: string) => number,
): void {
  const lease = program
    .command('lease')
    .description('what mounts may keep in their memory, and who waits for it')
  withCluster(lease.command('ls'))
    .description('which mount holds a lease on what, has it open, and is asked to give it back')
    .argument('[path]', 'only of this file or folder on a mount')
    .option(
      '--mount <n>',
      'only of this mount, as cairn mount ls shows it',
      wholeNumber('--mount', 1, Number.MAX_SAFE_INTEGER),
    )
    .option('--waited', 'only what somebody waits for')
    .option('--limit <n>', 'list at most this many', wholeNumber('--limit', 1, 2000), 200)
    .option('--json', 'print it as JSON')
    .action(async (target: string | undefined, options: Options) => {
      const address = masterAddress(options, target === undefined ? undefined : () => mountOf(target).source)
      const { leases, more } = await ask(await network(), address, adminLeases, {
        ino: target === undefined ? 0n : inodeOf(target),
        session: BigInt(options.mount ?? 0),
        contended: options.waited === true,
        limit: options.limit,
      })
      if (options.json === true) printJson({ leases: leases.map(asJson), more })
      else {
        show(leases)
        if (more) print('There are more: see --limit, --mount and --waited.')
      }
    })
}

function asJson(lease: LeaseInfo): object {
  const { ino, session, host, mountpoint, lease: kind, open, writing, waiting, recalledMs } = lease
  return {
    ...{ path: Buffer.from(lease.path).toString(), ino, mount: session, host, mountpoint },
    ...{ lease: kind, open, writing, waiting, recalledMs },
  }
}

/** A write lease lets files be opened for writing without a word to the master. */
function openText({ open, writing }: LeaseInfo): string {
  if (open) return writing ? 'for writing' : 'yes'
  return writing ? 'perhaps' : ''
}

function show(leases: readonly LeaseInfo[]): void {
  printTable(
    ['Path', 'Lease', 'Open', 'Waiting', 'Asked back', 'Mount', 'Machine'],
    leases.map(lease => [
      lease.path.length === 0 ? `inode ${lease.ino.toString()}` : pathText(lease.path),
      lease.lease,
      openText(lease),
      lease.waiting === 0 ? '' : `${String(lease.waiting)} calls`,
      lease.recalledMs === 0n ? '' : `for ${duration(Number(lease.recalledMs))}`,
      `${lease.session.toString()} (${visible(lease.mountpoint)})`,
      visible(lease.host),
    ]),
  )
}
