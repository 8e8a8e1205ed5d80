import type { Command } from 'commander'
import type { Network } from '../../core/network.ts'
import type { RemovalClass, RemovalStatusReply } from '../../wire/gen/cairn/v1/admin.ts'
import { adminRemovalStatus } from '../../wire/services.ts'
import { ask } from '../admin-client.ts'
import { type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import { bytes, duration, printJson, printTable, print, say } from '../output.ts'
import { visible } from '../terminal.ts'

export function registerGc(program: Command, network: () => Promise<Network>): void {
  const gc = program.command('gc').description('removing blocks that no file refers to any more')
  withCluster(gc.command('status'))
    .description('what is to be removed: how much, how old, and what holds it up')
    .option('--json', 'print it as JSON')
    .addHelpText('after', '\nExit code 0 if removal goes on, 1 if something holds it up.')
    .action(async (options: ClusterOptions & { json?: boolean }) => {
      const status = await ask(await network(), masterAddress(options), adminRemovalStatus, {})
      if (options.json === true) printJson(status)
      else show(status)
      if (isHeldUp(status)) process.exitCode = 1
    })
}

const isHeldUp = ({ paused, nodes }: RemovalStatusReply): boolean =>
  paused !== '' || nodes.some(({ stopped }) => stopped !== '')

function show(status: RemovalStatusReply): void {
  const { paused, short, graceMs, condemned, deleting, strays, ages, nodes, orphans } = status
  if (paused !== '') say(`Nothing is removed now: ${paused}`, '  ')
  for (const { node, stopped } of nodes)
    if (stopped !== '') say(`Chunkserver ${String(node)} deletes nothing: ${visible(stopped)}`, '  ')
  const grace = duration(Number(graceMs))
  say(
    short
      ? `Space runs out: blocks go ${grace} after the last file let them go.`
      : `Blocks stay ${grace} after the last file let them go, for readers and backups.`,
    '  ',
  )
  print('')
  printTable(
    ['State', 'Blocks', 'Size', 'Oldest', 'What they are'],
    [
      row('waiting', condemned, 'of no file, until their grace time is over'),
      row('deleting', deleting, 'ordered, and not confirmed by all chunkservers'),
      row('stray', strays, 'copies that no file came to name'),
    ],
  )
  print('')
  let from = ''
  printTable(
    ['Blocks', 'Without a file for'],
    ages.map(({ upToMs, count }) => {
      const to = upToMs === 0n ? 'more' : duration(Number(upToMs))
      const label = from === '' ? `up to ${to}` : `${from} to ${to}`
      from = to
      return [count.toString(), label]
    }),
  )
  print('')
  say(
    `${String(orphans)} removed files are still open somewhere; ${String(status.ordersUnderWay)} orders to ` +
      `chunkservers are under way${status.takingApart ? '; large files are being taken apart' : ''}`,
    '  ',
  )
}

const none: RemovalClass = { count: 0n, bytes: 0n, oldestMs: 0n, more: false }

const row = (state: string, found: RemovalClass | undefined, what: string): string[] => {
  const { count, bytes: size, oldestMs, more } = found ?? none
  return [
    state,
    `${count.toString()}${more ? ' or more' : ''}`,
    bytes(size),
    count === 0n ? '' : duration(Number(oldestMs)),
    what,
  ]
}
