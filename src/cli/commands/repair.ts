import type { Command } from 'commander'
import type { Network } from '../../core/network.ts'
import { adminRepairStatus } from '../../wire/services.ts'
import { ask } from '../admin-client.ts'
import { type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import { bytes, duration, printJson, printTable, say } from '../output.ts'

const meaning: Readonly<Record<string, string>> = {
  lost: 'no good copy can be read now',
  last: 'one good copy is left',
  leaving: 'all copies are on chunkservers that are being emptied, or fail',
  short: 'fewer copies than wanted',
  surplus: 'more copies than wanted',
  misplaced: 'copies share a zone or a machine, and need not',
}

export function registerRepair(program: Command, network: () => Promise<Network>): void {
  const repair = program.command('repair').description('how the copies of blocks are restored')

  withCluster(repair.command('status'))
    .description('what is to be repaired, by urgency, and how fast that goes')
    .option('--json', 'print it as JSON')
    .addHelpText('after', '\nExit code 0 if nothing is to be done, 1 if something is.')
    .action(async (options: ClusterOptions & { json?: boolean }) => {
      const status = await ask(await network(), masterAddress(options), adminRepairStatus, {})
      const idle =
        status.safeMode === '' && !status.searching && status.classes.every(each => each.blocks === 0n)
      if (options.json === true) printJson({ idle, ...status })
      else {
        if (status.safeMode !== '') say(`Safe mode: ${status.safeMode}`)
        printTable(
          ['Blocks', 'Size', 'Class', ''],
          status.classes.map(({ name, blocks, bytes: size }) => [
            blocks.toString(),
            bytes(size),
            name,
            meaning[name] ?? '',
          ]),
        )
        if (status.searching) say('The tables are being looked through: there may be more.')
        say(
          `${status.copiesUnderWay.toString()} copies (${bytes(status.bytesUnderWay)}) are being made, ` +
            `${bytes(status.bytesPerSecond)}/s, ${status.blocksPerSecond.toString()} blocks/s; ` +
            `${status.copied.toString()} made, ${status.failed.toString()} failed since the master started`,
        )
        if (status.leftMs > 0n) say(`About ${duration(Number(status.leftMs))} to go`)
      }
      if (!idle) process.exitCode = 1
    })
}
