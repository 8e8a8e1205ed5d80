import type { Command } from 'commander'
import type { Network } from '../../core/network.ts'
import type { DamagedBlockInfo } from '../../wire/gen/cairn/v1/admin.ts'
import { adminDamaged } from '../../wire/services.ts'
import { askLong } from '../admin-client.ts'
import { type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import { bytes, print, printJson, rangeText } from '../output.ts'

export function registerDamaged(program: Command, network: () => Promise<Network>): void {
  withCluster(program.command('damaged'))
    .description('blocks without a good copy that can be read now, and the files that they are parts of')
    .option('--json', 'print it as JSON')
    .addHelpText('after', '\nExit code 0 if there are none, 1 if there are.')
    .action(async (options: ClusterOptions & { json?: boolean }) => {
      const reply = await askLong(await network(), masterAddress(options), adminDamaged, {})
      if (options.json === true) printJson({ blocks: reply.blocks.map(asJson), more: reply.more })
      else {
        for (const block of reply.blocks) show(block)
        if (reply.more) print('There are more.')
        if (reply.blocks.length === 0) print('None.')
      }
      if (reply.blocks.length > 0) process.exitCode = 1
    })
}

const hex = (id: Uint8Array): string => Buffer.from(id).toString('hex')

const asJson = ({ id, length, lost, copies, files }: DamagedBlockInfo): object => ({
  block: hex(id),
  length,
  lost,
  copies,
  files: files.map(file => ({
    path: Buffer.from(file.path).toString(),
    ino: file.ino,
    offset: file.offset,
    length: file.length,
  })),
})

function show({ id, length, lost, copies, files }: DamagedBlockInfo): void {
  const state = lost ? 'no good copy is left' : 'the good copies are on chunkservers that are down'
  print(`Block ${hex(id).slice(0, 16)} (${bytes(length)}): ${state}`)
  for (const { node, what } of copies) print(`  on chunkserver ${node.toString()}${what && `: ${what}`}`)
  for (const file of files) print(`  part of ${rangeText(file)}`)
}
