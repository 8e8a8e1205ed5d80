import type { Command } from 'commander'
import type { Network } from '../../core/network.ts'
import type {
  BackupStatus,
  BlockCounts,
  LogStatus,
  NodeStatus,
  StatusReply,
} from '../../wire/gen/cairn/v1/admin.ts'
import { adminStatus } from '../../wire/services.ts'
import { ask } from '../admin-client.ts'
import { type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import { bytes, duration, healthColour, lagOf, print, printJson, printPairs, printTable } from '../output.ts'
import { visible } from '../terminal.ts'

/** What `cairn status --json` prints; scripts rely on these names. */
function asJson(address: string, status: StatusReply): object {
  return {
    health: status.health,
    reasons: status.reasons,
    notes: status.notes,
    safeMode: status.safeMode,
    cluster: Buffer.from(status.cluster).toString('hex'),
    master: { address, version: status.program, uptimeMs: status.uptimeMs, rssBytes: status.rssBytes },
    nodes: status.nodes.map(node => ({
      id: node.id,
      address: node.address,
      zone: node.zone,
      host: node.host,
      state: node.state,
      reason: node.reason,
      usedBytes: node.usedBytes,
      totalBytes: node.totalBytes,
      blocks: node.blocks,
      silentMs: node.silentMs,
      draining: node.draining,
    })),
    blocks: {
      total: status.blocks?.total ?? 0n,
      underReplicated: status.blocks?.underReplicated ?? 0n,
      missing: status.blocks?.missing ?? 0n,
      condemned: status.blocks?.condemned ?? 0n,
      bytes: status.blocks?.bytes ?? 0n,
    },
    mounts: status.mounts,
    inodes: status.inodes,
    totalBytes: status.totalBytes,
    availableBytes: status.availableBytes,
    copies: status.copies,
    minCopies: status.minCopies,
    blockBytes: status.blockBytes,
    backups: status.backups,
    log: status.log,
    restore: status.restore,
  }
}

export function registerStatus(program: Command, network: () => Promise<Network>): void {
  withCluster(program.command('status'))
    .description('health, nodes, blocks and mounts of a cluster')
    .option('--json', 'print it as JSON')
    .addHelpText('after', '\nExit code 0 if healthy, 1 if degraded or down.')
    .action(async (options: ClusterOptions & { json?: boolean }) => {
      const address = masterAddress(options)
      const status = await ask(await network(), address, adminStatus, {})
      if (options.json === true) printJson(asJson(address, status))
      else show(address, status)
      if (status.health !== 'ok') process.exitCode = 1
    })
}

function show(address: string, status: StatusReply): void {
  const { blocks, backups, log } = status
  const more = [...status.reasons, ...status.notes].map(line => ['', visible(line)] as const)
  printPairs([
    ['Health', healthColour(status.health)],
    ...more,
    ['Master', `${address}, up ${duration(Number(status.uptimeMs))}, ${bytes(status.rssBytes)} of memory`],
    [
      'Space',
      `${bytes(status.availableBytes)} free of ${bytes(status.totalBytes)} at ${String(status.copies)} copies`,
    ],
    ...(blocks === undefined ? [] : [['Blocks', blocksLine(blocks)] as const]),
    ['Inodes', status.inodes.toString()],
    ...(backups === undefined ? [] : [['Backups', backupLine(backups)] as const]),
    ...(log === undefined ? [] : [['Log', logLine(log)] as const]),
  ])
  print('')
  printTable(
    ['Node', 'Address', 'Zone', 'State', 'Used', 'Size', 'Blocks'],
    status.nodes.map(node => [
      node.id.toString(),
      node.address,
      node.zone,
      stateOf(node),
      bytes(node.usedBytes),
      bytes(node.totalBytes),
      node.blocks.toString(),
    ]),
  )
  print('')
  printTable(
    ['Mount', 'Host', 'Path', 'Process', 'State', 'Not yet written back', 'Leases'],
    status.mounts.map(mount => [
      mount.session.toString(),
      mount.host,
      mount.mountpoint,
      String(mount.pid),
      mount.state,
      bytes(mount.dirtyBytes),
      mount.leases.toString(),
    ]),
  )
}

const blocksLine = ({ total, bytes: size, underReplicated, missing, condemned }: BlockCounts): string =>
  `${total.toString()} (${bytes(size)}), ${underReplicated.toString()} with too few copies, ` +
  `${missing.toString()} with none, ${condemned.toString()} to be removed`

function backupLine({ taken, ageMs, bytes: size, count, everyMs }: BackupStatus): string {
  const every = everyMs === 0n ? 'none taken by itself' : `one every ${duration(Number(everyMs))}`
  if (taken === 0n) return `none yet, ${every}`
  return `${String(count)}, the newest ${duration(Number(ageMs))} old (${bytes(size)}), ${every}`
}

function logLine(log: LogStatus): string {
  const { wanted, followers, queuedBytes } = log
  const on = followers.filter(({ whole }) => whole).map(({ node }) => node.toString())
  const where =
    on.length === 0 ? 'on no chunkserver yet' : `on chunkserver${on.length === 1 ? '' : 's'} ${on.join(', ')}`
  const missing = on.length < wanted ? `, ${String(wanted)} wanted` : ''
  const waiting = queuedBytes === 0n ? '' : `, ${bytes(queuedBytes)} under way`
  return `${where}${missing}, ${lagOf(log)}${waiting}`
}

function stateOf({ state, reason, draining, blocksLeft }: NodeStatus): string {
  const words = [state]
  if (draining) words.push(blocksLeft === 0n ? 'empty' : 'being emptied')
  return words.join(', ') + (reason === '' ? '' : ` (${reason})`)
}
