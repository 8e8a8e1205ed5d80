import path from 'node:path'
import type { Command } from 'commander'
import { UsageError } from '../../core/errors.ts'
import type { Network } from '../../core/network.ts'
import { adminFsck } from '../../wire/services.ts'
import { askLong } from '../admin-client.ts'
import { checkBlocks, type DataReport } from '../check-blocks.ts'
import { type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import { bytes, print, printJson } from '../output.ts'
import { ownLikeFolder } from '../own-like-folder.ts'

interface Options extends ClusterOptions {
  readonly data?: boolean
  readonly repair?: string
  readonly yes?: boolean
  readonly json?: boolean
}

export function registerFsck(program: Command, network: () => Promise<Network>): void {
  withCluster(program.command('fsck'))
    .description('check every invariant of the metadata, and with --data every copy of every block')
    .option('--data', 'read every referenced block from every node that should hold it')
    .option(
      '--repair <dir>',
      'say what can be repaired in the folder of a master or chunkserver that does not run',
    )
    .option('--yes', 'and repair it; the database as it was is kept beside it')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', '\nExit code 0 if all is well, 1 on damage, 2 if it could not be checked.')
    .action(async (options: Options) => {
      if (options.repair !== undefined) {
        await repairStopped(options.repair, options)
        return
      }
      if (options.yes === true) throw new UsageError('--yes goes with --repair DIR')
      const address = masterAddress(options)
      const net = await network()
      const meta = await askLong(net, address, adminFsck, {})
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
          ...(data === undefined
            ? {}
            : { copiesRead: data.copies, bytesRead: data.bytes, unread: data.unread }),
        })
      else {
        for (const problem of problems) print(problem)
        print(
          `${meta.inodes.toString()} inodes, ${meta.dirents.toString()} names, ${meta.extents.toString()} extents, ` +
            `${meta.blocks.toString()} blocks, ${meta.replicas.toString()} copies`,
        )
        if (data !== undefined) print(describe(data))
        for (const { node, address, copies } of data?.unread ?? [])
          print(
            `${String(copies)} copies on node ${node.toString()} (${address}), which is down, were not read; ` +
              'their blocks have all their copies without them',
          )
        print(
          problems.length === 0
            ? 'Clean.'
            : `${String(problems.length)} ${problems.length === 1 ? 'problem' : 'problems'}.`,
        )
      }
      if (problems.length > 0) process.exitCode = 1
    })
}

function describe(data: DataReport): string {
  return `${data.copies.toString()} copies read and verified, ${bytes(data.bytes)}`
}

async function repairStopped(dir: string, { yes, json }: Options): Promise<void> {
  if (await repairNode(dir, yes === true, json === true)) return
  const [{ repairFolder }, { DatabaseDamagedError }, { takeFolder }, { realEnv }, { silentLog }] =
    await Promise.all([
      import('../repair-folder.ts'),
      import('../../master/store/store.ts'),
      import('../daemons/daemon.ts'),
      import('../../env/real-env.ts'),
      import('../../core/env.ts'),
    ])
  const folder = path.resolve(dir)
  const lock = await takeFolder(folder)
  try {
    const { actions, left, aside } = repairFolder(folder, realEnv(silentLog).clock.wall(), yes === true)
    if (json === true) printJson({ repaired: aside !== undefined, actions, left, oldDatabase: aside ?? null })
    else {
      for (const action of actions) print(`${yes === true ? 'did' : 'would'} ${action}`)
      for (const problem of left) print(`cannot be repaired: ${problem}`)
      if (aside !== undefined) print(`Repaired. The database as it was is ${aside}`)
      else print(actions.length === 0 ? 'There is nothing to repair.' : 'Nothing was changed: --yes does it.')
    }
    if (left.length > 0 || (actions.length > 0 && aside === undefined)) process.exitCode = 1
  } catch (error) {
    if (!(error instanceof DatabaseDamagedError)) throw error
    const why = `${error.message}. Nothing was changed: what is damaged is not repaired`
    if (json === true)
      printJson({ repaired: false, actions: [], left: [], oldDatabase: null, damaged: error.message })
    else print(why)
    process.exitCode = 1
  } finally {
    ownLikeFolder(folder)
    lock.release()
  }
}

/** False if the folder is no chunkserver's. */
async function repairNode(dir: string, keep: boolean, json: boolean): Promise<boolean> {
  const folder = path.resolve(dir)
  const [{ isNodeFolder, repairNodeFolder }, { storeFolders }, { takeFolder }, { realEnv }, { silentLog }] =
    await Promise.all([
      import('../repair-node-folder.ts'),
      import('../../chunkserver/blocks/layout.ts'),
      import('../daemons/daemon.ts'),
      import('../../env/real-env.ts'),
      import('../../core/env.ts'),
    ])
  if (!isNodeFolder(folder)) return false
  const lock = await takeFolder(folder)
  try {
    const { why, files, done } = await repairNodeFolder(realEnv(silentLog), folder, keep)
    if (json)
      printJson({
        repaired: done !== undefined,
        problem: why ?? null,
        files,
        ...(done === undefined ? {} : { adopted: done.adopted, unproven: done.unproven }),
        oldIndex: done?.aside ?? null,
      })
    else if (why === undefined) print('The index of blocks is sound: there is nothing to repair.')
    else if (done === undefined) {
      print(`The index of blocks cannot be used: ${why}`)
      print(`would make it anew from ${String(files)} files of blocks, as that of a new node`)
      print('What was in the index alone, blocks of up to 64 KiB, must come from other nodes.')
      print('Nothing was changed: --yes does it.')
    } else {
      print(`did make the index anew: ${String(done.adopted)} blocks are right by their names`)
      if (done.unproven > 0)
        print(`${String(done.unproven)} files are kept for the master to prove when the chunkserver runs`)
      if (done.aside !== undefined) print(`Repaired. The index as it was is ${path.join(folder, done.aside)}`)
      else print('Repaired.')
      print('It starts as a new node: cairn node remove forgets the old one once all is well.')
    }
    if (why !== undefined && done === undefined) process.exitCode = 1
  } finally {
    ownLikeFolder(folder, storeFolders)
    lock.release()
  }
  return true
}
