import type { Command } from 'commander'
import colors from '../colors.ts'
import type { Network } from '../../core/network.ts'
import type { Finding, StatusReply } from '../../wire/gen/cairn/v1/admin.ts'
import { adminStatus } from '../../wire/services.ts'
import { ask } from '../admin-client.ts'
import { type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import { nextSteps } from '../next-steps.ts'
import { bytes, duration, healthColour, lagOf, print, printJson, printPairs, say } from '../output.ts'
import { visible } from '../terminal.ts'

/** A script that wakes somebody needs to tell the two apart. */
const exitCodes: Readonly<Record<string, number>> = { ok: 0, degraded: 1, down: 3 }

export function registerHealth(program: Command, network: () => Promise<Network>): void {
  withCluster(program.command('health'))
    .description('whether all is well; if not, why, and what to do next')
    .option('--json', 'print it as JSON')
    .addHelpText(
      'after',
      '\nExit code 0 ok, 1 degraded (all can be read and written, with less to spare),' +
        '\n3 down (nothing can be written, or something cannot be read),' +
        '\n2 the master could not be asked.',
    )
    .action(async (options: ClusterOptions & { json?: boolean }) => {
      const address = masterAddress(options)
      const status = await ask(await network(), address, adminStatus, {})
      if (options.json === true) printJson(asJson(address, status))
      else show(address, status)
      process.exitCode = exitCodes[status.health] ?? 1
    })
}

/** What `cairn health --json` prints; scripts rely on these names. */
function asJson(address: string, status: StatusReply): object {
  return {
    health: status.health,
    master: address,
    findings: status.findings.map(found => ({
      code: found.code,
      severity: found.severity,
      text: found.text,
      ...(found.node === 0n ? {} : { node: found.node }),
      ...(found.session === 0n ? {} : { mount: found.session }),
      next: nextSteps(found, status),
    })),
    nodes: { total: status.nodes.length, up: upOf(status) },
    mounts: { total: status.mounts.length, silent: silentOf(status), dirtyBytes: dirtyOf(status) },
    blocks: {
      total: status.blocks?.total ?? 0n,
      underReplicated: status.blocks?.underReplicated ?? 0n,
      missing: status.blocks?.missing ?? 0n,
    },
    totalBytes: status.totalBytes,
    availableBytes: status.availableBytes,
    backupAgeMs: backupAge(status),
    logLagMs: status.log?.lagMs,
  }
}

function show(address: string, status: StatusReply): void {
  print(`Health  ${healthColour(status.health)}`)
  for (const found of status.findings) showFinding(found, status)
  print('')
  const { blocks } = status
  const used = status.totalBytes - status.availableBytes
  const age = backupAge(status)
  printPairs([
    ['Master', `${address}, up ${duration(Number(status.uptimeMs))}`],
    ['Nodes', `${String(upOf(status))} of ${String(status.nodes.length)} up`],
    [
      'Blocks',
      `${String(blocks?.total ?? 0n)} in use, ${String(blocks?.underReplicated ?? 0n)} with too few copies, ` +
        `${String(blocks?.missing ?? 0n)} that cannot be read`,
    ],
    [
      'Space',
      `${bytes(status.availableBytes)} free of ${bytes(status.totalBytes)} (${percentOf(used, status.totalBytes)} used)`,
    ],
    [
      'Mounts',
      `${String(status.mounts.length)}, ${String(silentOf(status))} not connected, ` +
        `${bytes(dirtyOf(status))} not yet written back`,
    ],
    ...(status.log === undefined ? [] : [['Log', lagOf(status.log)] as const]),
    ['Backup', age === undefined ? 'none yet' : `${duration(Number(age))} old`],
  ])
}

function showFinding(found: Finding, status: StatusReply): void {
  const paint = { down: colors.red, degraded: colors.yellow }[found.severity] ?? colors.dim
  print('')
  say(`${paint(found.severity === 'note' ? '·' : '!')} ${visible(found.text)}`, '  ')
  for (const step of nextSteps(found, status)) say(`  → ${visible(step)}`, '    ')
}

const upOf = ({ nodes }: StatusReply): number => nodes.filter(({ state }) => state !== 'down').length
const silentOf = ({ mounts }: StatusReply): number =>
  mounts.filter(({ state }) => state !== 'connected').length
const dirtyOf = ({ mounts }: StatusReply): bigint =>
  mounts.reduce((sum, { dirtyBytes }) => sum + dirtyBytes, 0n)

/** Of the newest copy of the database; undefined if there is none. */
const backupAge = ({ backups }: StatusReply): bigint | undefined =>
  backups === undefined || backups.taken === 0n ? undefined : backups.ageMs

const percentOf = (part: bigint, whole: bigint): string =>
  `${whole === 0n ? '0' : ((Number(part) / Number(whole)) * 100).toFixed(0)} %`
