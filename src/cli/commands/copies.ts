import type { Command } from 'commander'
import { copiesMax } from '../../core/limits.ts'
import type { Network } from '../../core/network.ts'
import { adminInfo, adminSetCopies, adminStatus } from '../../wire/services.ts'
import { ask, askLong } from '../admin-client.ts'
import { type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import { inodeOf, mountOf } from '../mounts.ts'
import { print, printJson } from '../output.ts'

interface Options extends ClusterOptions {
  readonly json?: boolean
  readonly recursive?: boolean
}

export function registerCopies(
  program: Command,
  network: () => Promise<Network>,
  wholeNumber: (name: string, min: number, max: number) => (text: string) => number,
): void {
  const copies = program.command('copies').description('how many copies of a file or folder are kept')

  withCluster(copies.command('get'))
    .description("show a file's or folder's own number of copies")
    .argument('<path>')
    .option('--json', 'print it as JSON')
    .action(async (target: string, options: Options) => {
      const address = masterAddress(options, () => mountOf(target).source)
      const info = await ask(await network(), address, adminInfo, {
        ino: inodeOf(target),
        offset: 0n,
        limit: 1,
        withoutPath: false,
      })
      const wanted = info.extents[0]?.copiesWanted
      if (options.json === true)
        printJson({ path: target, copies: info.copies, inherited: info.copies === 0 })
      else if (info.copies !== 0) print(`${target}: ${String(info.copies)} copies`)
      else print(`${target}: inherited${wanted === undefined ? '' : ` (${String(wanted)} copies)`}`)
    })

  withCluster(copies.command('set'))
    .description('set it; existing blocks get more copies, or fewer, in the background')
    .argument('<n>', 'number of copies', wholeNumber('N', 1, copiesMax))
    .argument('<path>')
    .option('-r, --recursive', 'also for everything below')
    .option('--json', 'print the result as JSON')
    .action(async (count: number, target: string, options: Options) => {
      const address = masterAddress(options, () => mountOf(target).source)
      const reply = await askLong(await network(), address, adminSetCopies, {
        ino: inodeOf(target),
        copies: count,
        recursive: options.recursive === true,
      })
      if (options.json === true) printJson({ path: target, copies: count, changed: reply.changed })
      else
        print(
          `${target}: ${String(count)} copies (${reply.changed.toString()} ${reply.changed === 1n ? 'inode' : 'inodes'} changed)`,
        )
      const { nodes } = await ask(await network(), address, adminStatus, {})
      if (count > nodes.length)
        process.stderr.write(
          `cairn: there are ${String(nodes.length)} nodes: the copies that are too few count as missing until there are ${String(count)}\n`,
        )
    })
}
