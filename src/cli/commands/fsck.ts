import type { Command } from 'commander'
import type { Network } from '../../core/network.ts'
import { adminFsck } from '../../wire/services.ts'
import { ask, longCallMs } from '../admin-client.ts'
import { checkBlocks, type DataReport } from '../check-blocks.ts'
import { type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import { bytes, print, printJson } from '../output.ts'

interface Options extends ClusterOptions {
  readonly data?: boolean
  readonly json?: boolean
}

export function registerFsck(program: Command, network: () => Promise<Network>): void {
  withCluster(program.command('fsck'))
    .description('check every invariant of the metadata, and with --data every copy of every block')
    .option('--data', 'read every referenced block from every node that should hold it')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', '\nExit code 0 if all is well, 1 on damage, 2 if it could not be checked.')
    .action(async (options: Options) => {
      const address = masterAddress(options)
      const net = await network()
      const meta = await ask(net, address, adminFsck, {}, longCallMs)
      const data = options.data === true ? await checkBlocks(net, address) : undefined
      const problems = [...meta.problems, ...(data?.problems ?? [])]
      if (options.json === true)
        printJson({
          clean: problems.length === 0,
          problems,
          inodes: meta.inodes,
          dirents: meta.dirents,
          extents: meta.extents,
          blocks: meta.blocks,
          replicas: meta.replicas,
          ...(data === undefined ? {} : { copiesRead: data.copies, bytesRead: data.bytes }),
        })
      else {
        for (const problem of problems) print(problem)
        print(
          `${meta.inodes.toString()} inodes, ${meta.dirents.toString()} names, ${meta.extents.toString()} extents, ` +
            `${meta.blocks.toString()} blocks, ${meta.replicas.toString()} copies`,
        )
        if (data !== undefined) print(describe(data))
        print(problems.length === 0 ? 'Clean.' : `${String(problems.length)} problems.`)
      }
      if (problems.length > 0) process.exitCode = 1
    })
}

function describe(data: DataReport): string {
  return `${data.copies.toString()} copies read and verified, ${bytes(data.bytes)}`
}
