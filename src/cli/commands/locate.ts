import { promises as fs } from 'node:fs'
import path from 'node:path'
import type { Command } from 'commander'
import { UsageError } from '../../core/errors.ts'
import { blockBytesMax } from '../../core/limits.ts'
import type { Network } from '../../core/network.ts'
import type { InfoReply, NodeStatus } from '../../wire/gen/cairn/v1/admin.ts'
import { adminInfo, adminStatus } from '../../wire/services.ts'
import { ask } from '../admin-client.ts'
import { type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import { CopySurvey } from '../copy-survey.ts'
import { inodeOf, mountOf } from '../mounts.ts'
import { bytes, counted, print, printJson, printTable, say } from '../output.ts'
import { visible } from '../terminal.ts'
import { syncMount } from './sync.ts'

interface Options extends ClusterOptions {
  readonly recursive?: boolean
  readonly offset?: number
  readonly sync: boolean
  readonly json?: boolean
}

const extentsAtOnce = 1000

export function registerLocate(
  program: Command,
  network: () => Promise<Network>,
  wholeNumber: (name: string, min: number, max: number) => (text: string) => number,
): void {
  withCluster(program.command('locate'))
    .description('on which chunkservers the copies of a file or a whole folder are, and what may fail')
    .argument('<path>', 'a file or folder on a mount')
    .option('-r, --recursive', 'all below a folder')
    .option(
      '--offset <byte>',
      'only the block of a file that has this byte',
      wholeNumber('--offset', 0, Number.MAX_SAFE_INTEGER),
    )
    .option('--no-sync', 'do not write back what the mount holds before')
    .option('--json', 'print it as JSON')
    .addHelpText('after', '\nExit code 0 if all can be read now, 1 if some block has no copy that is up.')
    .action(async (target: string, options: Options) => {
      const mount = mountOf(target)
      const address = masterAddress(options, () => mount.source)
      const isFolder = (await fs.lstat(target)).isDirectory()
      if (isFolder && options.recursive !== true)
        throw new UsageError(`${target} is a folder: add -r for all that is below it`)
      if (isFolder && options.offset !== undefined)
        throw new UsageError(`--offset is of a file, and ${target} is a folder`)
      if (options.sync) await syncMount(mount.path)
      const net = await network()
      const { nodes } = await ask(net, address, adminStatus, {})
      const survey = new CopySurvey(nodes)
      for await (const file of filesOf(target, mount.device))
        await look(net, address, file, options.offset, survey)
      if (options.json === true) printJson({ path: target, ...survey.result() })
      else show(target, survey, nodes)
      if (survey.unreachable.blocks > 0) process.exitCode = 1
    })
}

/** Regular files, of the same mount, without following symlinks. */
async function* filesOf(target: string, device: string): AsyncGenerator<string> {
  const found = await fs.lstat(target)
  if (found.isFile()) yield target
  if (!found.isDirectory() || mountOf(target).device !== device) return
  for await (const entry of await fs.opendir(target))
    if (entry.isDirectory() || entry.isFile()) yield* filesOf(path.join(target, entry.name), device)
}

async function look(
  network: Network,
  address: string,
  file: string,
  offset: number | undefined,
  survey: CopySurvey,
): Promise<void> {
  const ino = inodeOf(file)
  survey.file()
  const wanted = offset === undefined ? undefined : BigInt(offset)
  // An extent is part of one block, and none begins further before a byte of it.
  let from: bigint | undefined = BigInt(Math.max(0, (offset ?? 0) - blockBytesMax))
  while (from !== undefined) {
    const reply: InfoReply = await ask(network, address, adminInfo, {
      ino,
      offset: from,
      limit: extentsAtOnce,
      withoutPath: false,
    })
    for (const extent of reply.extents)
      if (wanted === undefined || (extent.offset <= wanted && wanted < extent.offset + extent.length))
        survey.extent(extent)
    const last = reply.extents.at(-1)
    const isPast = wanted !== undefined && last !== undefined && last.offset > wanted
    from = reply.more && !isPast && last !== undefined ? last.offset + 1n : undefined
  }
}

function show(target: string, survey: CopySurvey, nodes: readonly NodeStatus[]): void {
  const { files, blocks, byNode, unreachable, last } = survey
  print(`${visible(target)}: ${counted(files, 'file')}, ${counted(blocks.size, 'block')}`)
  printTable(
    ['Node', 'Label', 'Address', 'Zone', 'Machine', 'State', 'Blocks', 'Size'],
    [...byNode].map(([id, { blocks: count, bytes: size }]) => {
      const node = nodes.find(each => each.id === id)
      return [
        id.toString(),
        visible(node?.label ?? ''),
        node?.address ?? '',
        visible(node?.zone ?? ''),
        visible(node?.host ?? ''),
        node?.state ?? 'gone',
        String(count),
        bytes(size),
      ]
    }),
  )
  if (blocks.size === 0) {
    print(survey.files === 0 ? 'There are no files.' : 'There are no blocks: empty, or only holes.')
    return
  }
  if (unreachable.blocks > 0)
    say(
      `${String(unreachable.blocks)} blocks (${bytes(unreachable.bytes)}) cannot be read now: see cairn health`,
    )
  if (last.blocks > 0)
    say(
      `${String(last.blocks)} blocks (${bytes(last.bytes)}) have only one copy that is up: one more failure and they cannot be read`,
    )
  if (unreachable.blocks === 0 && last.blocks === 0) say('Any one of these chunkservers may fail.')
}
