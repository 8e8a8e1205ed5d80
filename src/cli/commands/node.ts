import type { Command } from 'commander'
import { UsageError } from '../../core/errors.ts'
import type { Network } from '../../core/network.ts'
import type { NodeStatus } from '../../wire/gen/cairn/v1/admin.ts'
import { adminLabelNode, adminRemoveNode, adminSetDraining, adminStatus } from '../../wire/services.ts'
import { ask, askLong } from '../admin-client.ts'
import { type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import { bytes, duration, print, printJson, printPairs, printTable, rangeText } from '../output.ts'
import { visible } from '../terminal.ts'
import { registerJoin } from './identity.ts'

interface Options extends ClusterOptions {
  readonly json?: boolean
}

const exitRefused = '\nExit code 0 if done, 1 if refused, 2 if it could not be asked.'

export function registerNode(program: Command, network: () => Promise<Network>): void {
  const node = program.command('node').description('chunkservers: join, list, show, call, empty, remove')

  registerJoin(node)

  withCluster(node.command('ls'))
    .description('all chunkservers, with the progress of those that are being emptied')
    .option('--json', 'print it as JSON')
    .action(async (options: Options) => {
      const { nodes } = await ask(await network(), masterAddress(options), adminStatus, {})
      if (options.json === true) printJson(nodes.map(asJson))
      else show(nodes)
    })

  withCluster(node.command('show'))
    .description('everything about one chunkserver')
    .argument('<node>', 'its number, as cairn node ls shows it')
    .option('--json', 'print it as JSON')
    .action(async (text: string, options: Options) => {
      const number = nodeNumber(text)
      const { nodes, findings } = await ask(await network(), masterAddress(options), adminStatus, {})
      const found = nodes.find(({ id }) => id === number)
      if (found === undefined) throw new UsageError(`there is no chunkserver ${text}: see cairn node ls`)
      const reasons = findings.filter(({ node: about }) => about === number).map(({ text: why }) => why)
      if (options.json === true) printJson({ ...asJson(found), ...moreOf(found), reasons })
      else showOne(found, reasons)
    })

  withCluster(node.command('label'))
    .description('call a chunkserver something, such as where its disk is; without a text: not any more')
    .argument('<node>', 'its number, as cairn node ls shows it')
    .argument('[text]', 'at most 100 characters')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', '\nNothing goes by it: copies are spread by zone and machine.')
    .action(async (text: string, given: string | undefined, options: Options) => {
      const request = { node: nodeNumber(text), label: given ?? '' }
      await ask(await network(), masterAddress(options), adminLabelNode, request)
      if (options.json === true) printJson(request)
      else print(given ? `Chunkserver ${text} is called ${given}` : `Chunkserver ${text} has no label`)
    })

  for (const [name, draining, what] of [
    ['drain', true, 'move everything off a chunkserver, so that it can be removed; reads go on'],
    ['undrain', false, 'let a chunkserver take blocks again, also while it is being emptied'],
  ] as const)
    withCluster(node.command(name))
      .description(what)
      .argument('<node>', 'its number, as cairn node ls shows it')
      .option('--json', 'print the result as JSON')
      .addHelpText('after', exitRefused)
      .action(async (text: string, options: Options) => {
        const request = { node: nodeNumber(text), draining }
        const reply = await askLong(await network(), masterAddress(options), adminSetDraining, request)
        const { refused, blocks } = reply
        if (options.json === true)
          printJson({ done: refused.length === 0, refused, blocks, bytes: reply.bytes })
        else if (refused.length > 0)
          for (const reason of refused) print(`Chunkserver ${text} cannot be emptied: ${reason}`)
        else if (draining)
          print(`Chunkserver ${text} is being emptied: ${String(blocks)} blocks (${bytes(reply.bytes)})`)
        else print(`Chunkserver ${text} takes blocks`)
        if (refused.length > 0) process.exitCode = 1
      })

  withCluster(node.command('remove'))
    .description(
      'forget a chunkserver for good: one that is empty, or dead with nothing that is not elsewhere',
    )
    .argument('<node>', 'its number, as cairn node ls shows it')
    .option('--yes', 'also if blocks are lost by it, of one that is down')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', exitRefused)
    .action(async (text: string, options: Options & { yes?: boolean }) => {
      const request = { node: nodeNumber(text), anyway: options.yes === true }
      const reply = await askLong(await network(), masterAddress(options), adminRemoveNode, request)
      const { refused, blocksLost, bytesLost, files } = reply
      if (options.json === true)
        printJson({ done: refused === '', refused, blocksLost, bytesLost, files: files.map(rangeText) })
      else if (refused === '') print(`Chunkserver ${text} is removed`)
      else {
        print(`Chunkserver ${text} was not removed: ${refused}`)
        if (blocksLost > 0n) print(`${bytes(bytesLost)} would be lost, among others of:`)
        for (const file of files) print(`  ${rangeText(file)}`)
        if (blocksLost > 0n) print('Add --yes to remove it nevertheless.')
      }
      if (refused !== '') process.exitCode = 1
    })
}

function nodeNumber(text: string): bigint {
  if (!/^[1-9]\d{0,17}$/.test(text)) throw new UsageError(`${text} is no number of a chunkserver`)
  return BigInt(text)
}

function asJson(node: NodeStatus): object {
  const { id, address, zone, host, label, state, reason, draining, blocksLeft, bytesLeft } = node
  return {
    ...{ id, address, zone, host, label, state, reason, draining },
    ...{ usedBytes: node.usedBytes, totalBytes: node.totalBytes, blocks: node.blocks },
    ...(draining
      ? {
          drained: blocksLeft === 0n,
          blocksLeft,
          bytesLeft,
          bytesPerSecond: node.bytesPerSecond,
          leftMs: node.leftMs,
        }
      : {}),
  }
}

function moreOf({ silentMs, load, compared, removalStopped, scrub }: NodeStatus): object {
  return { silentMs, load, compared, removalStopped, scrub }
}

function showOne(node: NodeStatus, reasons: readonly string[]): void {
  const { scrub } = node
  const [used, total] = [Number(node.usedBytes), Number(node.totalBytes)]
  const full = total === 0 ? '' : ` (${((used / total) * 100).toFixed(1)} %)`
  const emptying = progress(node)
  printPairs([
    ['Chunkserver', node.id.toString()],
    ...(node.label === '' ? [] : [['Label', visible(node.label)] as const]),
    ['Address', node.address],
    ['Machine', visible(node.host)],
    ['Zone', visible(node.zone)],
    ['State', node.reason === '' ? node.state : `${node.state} (${visible(node.reason)})`],
    ['Heard', `${duration(Number(node.silentMs))} ago`],
    ['Disk', `${bytes(used)} of ${bytes(total)}${full}, ${node.blocks.toString()} blocks`],
    ['Load', `${String(node.load)} streams open`],
    ['Traffic', `${bytes(node.receivedPerSecond)}/s in, ${bytes(node.sentPerSecond)}/s out`],
    ['Inventory', node.compared ? 'compared with the tables' : 'not compared since it attached'],
    ...(emptying === '' ? [] : [['Emptying', emptying] as const]),
    ...(scrub === undefined
      ? []
      : [['Scrub', `${(scrub.permille / 10).toFixed(1)} %, ${scrub.damaged.toString()} damaged`] as const]),
    ...reasons.map(reason => ['Reason', visible(reason)] as const),
  ])
}

function show(nodes: readonly NodeStatus[]): void {
  printTable(
    ['Node', 'Label', 'Address', 'Zone', 'Machine', 'State', 'Used', 'Size', 'Blocks', 'Emptying'],
    nodes.map(node => [
      node.id.toString(),
      visible(node.label),
      node.address,
      node.zone,
      node.host,
      node.reason === '' ? node.state : `${node.state} (${node.reason})`,
      bytes(node.usedBytes),
      bytes(node.totalBytes),
      node.blocks.toString(),
      progress(node),
    ]),
  )
}

function progress(node: NodeStatus): string {
  if (!node.draining) return ''
  if (node.blocksLeft === 0n) return 'empty: it can be removed'
  const left = `${node.blocksLeft.toString()} blocks, ${bytes(node.bytesLeft)} left`
  if (node.leftMs === 0n) return left
  return `${left}, ${bytes(node.bytesPerSecond)}/s, ${duration(Number(node.leftMs))} to go`
}
