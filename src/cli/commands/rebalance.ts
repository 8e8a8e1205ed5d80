import type { Command } from 'commander'
import type { Network } from '../../core/network.ts'
import { RebalanceRequest_Action as Action } from '../../wire/gen/cairn/v1/admin.ts'
import { adminRebalance } from '../../wire/services.ts'
import { ask } from '../admin-client.ts'
import { type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import { bytes, duration, printJson, say } from '../output.ts'

const percent = (permille: number): string => `${(permille / 10).toFixed(1)} %`

export function registerRebalance(program: Command, network: () => Promise<Network>): void {
  const rebalance = program
    .command('rebalance')
    .description('move blocks from full chunkservers to empty ones')
  for (const [name, action, what] of [
    ['status', Action.ACTION_UNSPECIFIED, 'how full they are, and what is to be moved'],
    ['start', Action.ACTION_START, 'move blocks until all are about equally full; repairs go first'],
    ['stop', Action.ACTION_STOP, 'move no more'],
  ] as const)
    withCluster(rebalance.command(name))
      .description(what)
      .option('--json', 'print it as JSON')
      .action(async (options: ClusterOptions & { json?: boolean }) => {
        const reply = await ask(await network(), masterAddress(options), adminRebalance, { action })
        if (options.json === true) {
          printJson(reply)
          return
        }
        const { running, bytesLeft, leftMs } = reply
        say(
          `${running ? 'Running' : 'Not running'}: the fullest chunkserver is ${percent(reply.fullestPermille)} full, ` +
            `the emptiest ${percent(reply.emptiestPermille)}`,
        )
        if (bytesLeft === 0n) say('They are balanced.')
        else
          say(
            `${bytes(bytesLeft)} to be moved, ${bytes(reply.bytesPerSecond)}/s` +
              (leftMs > 0n ? `, about ${duration(Number(leftMs))} to go` : ''),
          )
      })
}
