import type { Command } from 'commander'
import type { Network } from '../../core/network.ts'
import type { InfoReply } from '../../wire/gen/cairn/v1/admin.ts'
import { adminInfo } from '../../wire/services.ts'
import { ask } from '../admin-client.ts'
import { type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import { inodeOf, mountOf } from '../mounts.ts'
import { bytes, print, printJson, printTable } from '../output.ts'
import { syncMount } from './sync.ts'

interface Options extends ClusterOptions {
  readonly json?: boolean
  readonly sync: boolean
  readonly limit: number
}

export function registerInfo(
  program: Command,
  network: () => Promise<Network>,
  wholeNumber: (name: string, min: number, max: number) => (text: string) => number,
): void {
  withCluster(program.command('info'))
    .description('a file: its inode, extents and blocks, how many copies of each there are, and where')
    .argument('<path>', 'a file or folder on a mount')
    .option('--limit <n>', 'show at most this many extents', wholeNumber('--limit', 1, 1_000_000), 100)
    .option('--no-sync', 'do not write back what the mount holds before')
    .option('--json', 'print it as JSON')
    .action(async (target: string, options: Options) => {
      const mount = mountOf(target)
      const address = masterAddress(options, () => mount.source)
      if (options.sync) await syncMount(mount.path)
      const info = await ask(await network(), address, adminInfo, {
        ino: inodeOf(target),
        offset: 0n,
        limit: options.limit,
        withoutPath: false,
      })
      if (options.json === true) printJson(asJson(target, info))
      else show(target, info)
    })
}

function asJson(target: string, info: InfoReply): object {
  return {
    path: target,
    clusterPath: Buffer.from(info.path).toString('utf8'),
    attr: info.attr,
    copies: info.copies,
    extentsTotal: info.extentsTotal,
    more: info.more,
    extents: info.extents.map(extent => ({
      offset: extent.offset,
      length: extent.length,
      block: Buffer.from(extent.block).toString('hex'),
      blockKey: extent.blockKey,
      blockOffset: extent.blockOffset,
      blockLength: extent.blockLength,
      copiesWanted: extent.copiesWanted,
      copies: extent.locations.map(location => ({
        node: location.node,
        address: location.address,
        zone: location.zone,
      })),
    })),
  }
}

function show(target: string, info: InfoReply): void {
  const attr = info.attr
  print(target)
  if (attr !== undefined) {
    print(`  inode    ${attr.ino.toString()}  (in the cluster: ${Buffer.from(info.path).toString('utf8')})`)
    print(
      `  mode     ${attr.mode.toString(8)}, ${String(attr.nlink)} links, owner ${String(attr.uid)}:${String(attr.gid)}`,
    )
    print(`  size     ${attr.size.toString()} bytes, ${bytes(attr.allocated)} stored`)
  }
  print(`  copies   ${info.copies === 0 ? 'as the folder says' : String(info.copies)}`)
  print(`  extents  ${info.extentsTotal.toString()}`)
  if (info.extents.length === 0) return
  print('')
  printTable(
    ['Offset', 'Length', 'Block', 'Part', 'Copies', 'Nodes'],
    info.extents.map(extent => [
      extent.offset.toString(),
      extent.length.toString(),
      Buffer.from(extent.block).toString('hex').slice(0, 16),
      extent.blockOffset === 0 && BigInt(extent.blockLength) === extent.length
        ? 'all'
        : `from ${String(extent.blockOffset)} of ${String(extent.blockLength)}`,
      `${String(extent.locations.length)} of ${String(extent.copiesWanted)}`,
      extent.locations.map(location => `${location.node.toString()} (${location.address})`).join(', '),
    ]),
  )
  if (info.more) print('…')
}
