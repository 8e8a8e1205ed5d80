import type { Command } from 'commander'
import { UsageError } from '../../core/errors.ts'
import type { Network } from '../../core/network.ts'
import type { MountStatus } from '../../wire/gen/cairn/v1/admin.ts'
import { adminEvictMount, adminStatus } from '../../wire/services.ts'
import { ask } from '../admin-client.ts'
import { type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import { bytes, duration, print, printJson, printTable, say, timeOf } from '../output.ts'
import { confirmed, isInteractive, visible } from '../terminal.ts'

interface EvictOptions extends ClusterOptions {
  readonly yes?: boolean
  readonly dryRun?: boolean
  readonly json?: boolean
}

/**
 * The mounts of a cluster, wherever they are: `cairn mount ls`, `cairn mount evict`. Their --json is taken for that of
 * `cairn mount`, which has one too, wherever it stands: hence optsWithGlobals.
 */
export function registerMountAdmin(mount: Command, network: () => Promise<Network>): void {
  withCluster(mount.command('ls'))
    .description('all mounts of the cluster, wherever they are, and what they hold')
    .option('--json', 'print it as JSON')
    .action(async (_: unknown, command: Command) => {
      const options = command.optsWithGlobals<ClusterOptions & { json?: boolean }>()
      const { mounts } = await ask(await network(), masterAddress(options), adminStatus, {})
      if (options.json === true) printJson(mounts.map(asJson))
      else show(mounts)
    })

  withCluster(mount.command('evict'))
    .description(
      'end the session of a mount that is gone or stuck, so that others need not wait for what it holds; ' +
        'what it had not written back is lost, and an error to its programs',
    )
    .argument('<mount>', 'its number, as cairn mount ls shows it')
    .option('--dry-run', 'only say what would be lost')
    .option('--yes', 'do not ask')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nA mount that still runs begins a new session by itself: unmount it there to be rid of it.' +
        '\nExit code 0 if done (or told, with --dry-run), 1 if it was not confirmed, 2 if it could not be done.',
    )
    .action(async (text: string, _: unknown, command: Command) => {
      const options = command.optsWithGlobals<EvictOptions>()
      await evictMount(await network(), masterAddress(options), mountNumber(text), options)
    })
}

async function evictMount(
  network: Network,
  address: string,
  session: bigint,
  { yes, dryRun, json }: EvictOptions,
): Promise<void> {
  const before = await ask(network, address, adminEvictMount, { session, dryRun: true })
  const mount = before.mount === undefined ? {} : asJson(before.mount)
  if (json !== true && before.mount !== undefined) showLoss(before.mount, yes !== true || dryRun === true)
  if (dryRun === true) {
    if (json === true) printJson({ done: false, mount })
    return
  }
  const sure = yes === true || (json !== true && isInteractive() && (await confirmed('End it?')))
  if (!sure) {
    if (json === true) printJson({ done: false, refused: 'it was not confirmed: add --yes', mount })
    else print(isInteractive() ? 'It was left alone.' : 'Add --yes to end it.')
    process.exitCode = 1
    return
  }
  await ask(network, address, adminEvictMount, { session, dryRun: false })
  if (json === true) printJson({ done: true, mount })
  else print(`Mount ${String(session)} is ended`)
}

function showLoss(mount: MountStatus, ahead: boolean): void {
  const silent =
    mount.state === 'connected' ? 'is connected' : `silent for ${duration(Number(mount.silentMs))}`
  say(
    `Mount ${String(mount.session)}: ${visible(mount.mountpoint)} on ${visible(mount.host)}, ` +
      `process ${String(mount.pid)}, ${silent}`,
  )
  if (!ahead) return
  say(`  would lose ${bytes(mount.dirtyBytes)} that it had not written back, as it told last`)
  say(`  would give up ${String(mount.leases)} leases and ${String(mount.locks)} file locks`)
}

function mountNumber(text: string): bigint {
  if (!/^[1-9]\d{0,17}$/.test(text)) throw new UsageError(`${text} is no number of a mount`)
  return BigInt(text)
}

/** Scripts rely on these names. */
function asJson(mount: MountStatus): object {
  const { session, host, mountpoint, pid, program, state, silentMs, dirtyBytes } = mount
  const { leases, locks, waiting, calls, zone, readOnly, started, export: exported } = mount
  return {
    ...{
      mount: session,
      host,
      mountpoint,
      pid,
      version: program,
      state,
      silentMs,
      zone,
      readOnly,
      export: exported,
    },
    ...{ started: timeOf(started), dirtyBytes, leases, locks, waiting, calls },
  }
}

function show(mounts: readonly MountStatus[]): void {
  printTable(
    ['Mount', 'Machine', 'Path', 'Process', 'State', 'Since', 'Dirty', 'Leases', 'Locks', 'Waiting'],
    mounts.map(mount => [
      mount.session.toString(),
      visible(mount.host),
      visible(mount.mountpoint) +
        (mount.export === '' ? '' : ` of ${mount.export}`) +
        (mount.readOnly ? ' (ro)' : ''),
      String(mount.pid),
      mount.state === 'connected' ? mount.state : `silent for ${duration(Number(mount.silentMs))}`,
      timeOf(mount.started).slice(0, 19).replace('T', ' '),
      bytes(mount.dirtyBytes),
      mount.leases.toString(),
      mount.locks.toString(),
      mount.waiting.toString(),
    ]),
  )
}
