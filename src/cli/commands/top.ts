import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import colors from '../colors.ts'
import type { Network } from '../../core/network.ts'
import { second } from '../../core/units.ts'
import { adminActivity, adminStatus } from '../../wire/services.ts'
import { ask } from '../admin-client.ts'
import { type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import { bytes, healthColour, print, printJson, printNarrowTable, say } from '../output.ts'
import { visible } from '../terminal.ts'
import { type OperationRate, type Rates, ratesBetween, type Reading } from '../top/rates.ts'

interface Options extends ClusterOptions {
  readonly once?: boolean
  readonly interval: number
  readonly json?: boolean
}

/** Of operations and mounts, the busiest. */
const rowsMax = 12

export function registerTop(
  program: Command,
  network: () => Promise<Network>,
  wholeNumber: (name: string, min: number, max: number) => (text: string) => number,
): void {
  withCluster(program.command('top'))
    .description('what goes on now: operations a second and how long they take, traffic of mounts and nodes')
    .option('--interval <seconds>', 'between two readings', wholeNumber('--interval', 1, 3600), 2)
    .option('--once', 'show one interval and end; always so without a terminal')
    .option('--json', 'print one interval as JSON')
    .addHelpText(
      'after',
      '\nLatencies are of calls of mounts to the master, waiting for leases included, and as exact as the' +
        '\nbuckets of its histogram. Bytes are of blocks, as heartbeats told last: about every 5 s.',
    )
    .action(async (options: Options) => {
      const net = await network()
      const address = masterAddress(options)
      const read = async (): Promise<Reading> => {
        const [activity, status] = await Promise.all([
          ask(net, address, adminActivity, {}),
          ask(net, address, adminStatus, {}),
        ])
        return { activity, status }
      }
      const once = options.once === true || options.json === true || !process.stdout.isTTY
      for (let before = await read(); ; ) {
        await sleep(options.interval * second)
        const after = await read()
        const rates = ratesBetween(before, after)
        if (options.json === true) printJson(asJson(after, rates))
        else {
          // Home, and away with what was there.
          if (!once) process.stdout.write('\u001b[H\u001b[2J')
          show(address, after, rates)
        }
        if (once) return
        before = after
      }
    })
}

function asJson({ status, activity }: Reading, { seconds, all, operations, callsOf }: Rates): object {
  return {
    ...{ health: status.health, seconds, waiting: activity.waiting, all, operations },
    mounts: status.mounts.map(mount => ({
      ...{ mount: mount.session, host: mount.host, mountpoint: mount.mountpoint, state: mount.state },
      callsPerSecond: callsOf.get(mount.session) ?? 0,
      readBytesPerSecond: mount.fetchedPerSecond,
      writtenBytesPerSecond: mount.storedPerSecond,
      dirtyBytes: mount.dirtyBytes,
      waiting: mount.waiting,
    })),
    nodes: status.nodes.map(node => ({
      ...{ node: node.id, address: node.address, label: node.label, state: node.state },
      receivedBytesPerSecond: node.receivedPerSecond,
      sentBytesPerSecond: node.sentPerSecond,
      streams: node.load,
    })),
  }
}

function show(address: string, { status, activity }: Reading, rates: Rates): void {
  const { all, operations, callsOf } = rates
  say(
    `${address}  ${healthColour(status.health)}  ${rate(all.perSecond)} calls/s  p50 ${time(all.p50Ms)}  ` +
      `p99 ${time(all.p99Ms)}  ${String(activity.waiting)} waiting`,
  )
  print('')
  printNarrowTable(
    ['Operation', 'Calls/s', 'p50', 'p99', 'Mean', 'p95', 'Errors/s'],
    operations.slice(0, rowsMax).map(operationRow),
  )
  if (operations.length === 0) print(colors.dim('no calls'))
  print('')
  const busiest = [...status.mounts].sort(
    (a, b) => (callsOf.get(b.session) ?? 0) - (callsOf.get(a.session) ?? 0),
  )
  printNarrowTable(
    ['Mount', 'Calls/s', 'Read/s', 'Written/s', 'Dirty', 'Path', 'Machine'],
    busiest
      .slice(0, rowsMax)
      .map(mount => [
        mount.session.toString(),
        rate(callsOf.get(mount.session) ?? 0),
        bytes(mount.fetchedPerSecond),
        bytes(mount.storedPerSecond),
        bytes(mount.dirtyBytes),
        visible(mount.mountpoint),
        visible(mount.host),
      ]),
  )
  print('')
  printNarrowTable(
    ['Node', 'State', 'In/s', 'Out/s', 'Streams', 'Used', 'Address', 'Label'],
    status.nodes.map(node => [
      node.id.toString(),
      node.state,
      bytes(node.receivedPerSecond),
      bytes(node.sentPerSecond),
      String(node.load),
      bytes(node.usedBytes),
      node.address,
      visible(node.label),
    ]),
  )
}

const operationRow = (each: OperationRate): string[] => [
  each.operation,
  rate(each.perSecond),
  time(each.p50Ms),
  time(each.p99Ms),
  time(each.meanMs),
  time(each.p95Ms),
  rate(each.errorsPerSecond),
]

const rate = (perSecond: number): string => (perSecond >= 100 ? perSecond.toFixed(0) : perSecond.toFixed(1))

function time(ms: number | undefined): string {
  if (ms === undefined) return ''
  return ms < 1
    ? `${ms.toFixed(2)} ms`
    : ms < 1000
      ? `${ms.toFixed(ms < 10 ? 1 : 0)} ms`
      : `${(ms / 1000).toFixed(1)} s`
}
