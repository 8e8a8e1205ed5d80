import path from 'node:path'
import type { Command } from 'commander'
import { UsageError } from '../../core/errors.ts'
import type { Network } from '../../core/network.ts'
import type { RestoreStatusReply } from '../../wire/gen/cairn/v1/admin.ts'
import { adminConfirmRestore, adminRestoreStatus } from '../../wire/services.ts'
import { ask, askLong } from '../admin-client.ts'
import { type ClusterOptions, masterAddress, withCluster, withIdentity } from '../cluster-address.ts'
import { bytes, print, printJson, timeOf } from '../output.ts'
import { ownLikeFolder } from '../own-like-folder.ts'
import type { Rebuilt } from '../../master/log/rebuild.ts'
import type { Restored } from '../restore-folder.ts'

interface Options {
  readonly data?: string
  readonly fromNodes?: readonly string[]
  readonly force?: boolean
  readonly json?: boolean
}

export function registerRestore(program: Command, network: () => Promise<Network>): void {
  const restore = withIdentity(program.command('restore'))
    .description("put a backup in the place of a master's database; status and confirm come after")
    .argument('[file]', 'made by cairn backup, or one of the copies in DIR/backups')
    .option('--data <dir>', "the master's folder; the master must not run")
    .option(
      '--from-nodes <addresses...>',
      'HOST:PORT of chunkservers: from the copies of the database that some of them keep, up to its last second',
    )
    .option('--force', 'also if the backup has problems (they are listed)')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nWhat was there is kept beside it. Nothing is removed from the chunkservers until cairn restore confirm.' +
        '\nExit code 0 if restored, 1 if the backup has problems, 2 if it could not be restored.',
    )
    .action(async (file: string | undefined, options: Options) => {
      const { data, fromNodes } = options
      if ((file === undefined) === (fromNodes === undefined) || data === undefined)
        throw new UsageError(
          'which backup, and where? give cairn restore FILE --data DIR, or cairn restore --from-nodes HOST:PORT… --data DIR',
        )
      const folder = path.resolve(data)
      const [{ restoreFolder }, { restoreFromNodes }, { takeFolder }, { realEnv }, { silentLog }] =
        await Promise.all([
          import('../restore-folder.ts'),
          import('../restore-from-nodes.ts'),
          import('../daemons/daemon.ts'),
          import('../../env/real-env.ts'),
          import('../../core/env.ts'),
        ])
      const lock = await takeFolder(folder)
      try {
        const now = realEnv(silentLog).clock.wall()
        const force = options.force === true
        const common = { folder, now, force }
        const { rebuilt, restored } =
          file === undefined
            ? await restoreFromNodes(await network(), { addresses: fromNodes ?? [], ...common })
            : { rebuilt: undefined, restored: restoreFolder({ file: path.resolve(file), ...common }) }
        const what = file ?? 'what the chunkservers have'
        if (options.json === true)
          printJson({ ...asJson(file ?? null, folder, restored), ...nodesAsJson(rebuilt) })
        else {
          showRebuilt(rebuilt)
          show(what, folder, restored)
        }
        if (restored.problems.length > 0) process.exitCode = 1
      } finally {
        ownLikeFolder(folder)
        lock.release()
      }
    })

  withCluster(restore.command('status'))
    .description('what a restored master lacks, and what the chunkservers have that it does not know')
    .option('--json', 'print it as JSON')
    .addHelpText('after', '\nExit code 0 if there is nothing to confirm, 1 if there is.')
    .action(async (_own: unknown, command: Command) => {
      const options = command.optsWithGlobals<ClusterOptions & { json?: boolean }>()
      const status = await askLong(await network(), masterAddress(options), adminRestoreStatus, {})
      if (options.json === true) printJson(statusAsJson(status))
      else showStatus(status)
      if (status.pending) process.exitCode = 1
    })

  withCluster(restore.command('confirm'))
    .description(
      'let the master remove what nobody refers to: what was written after the backup is gone then',
    )
    .option('--anyway', 'also if not every chunkserver has said what it has')
    .option('--json', 'print the result as JSON')
    .action(async (_own: unknown, command: Command) => {
      const options = command.optsWithGlobals<ClusterOptions & { anyway?: boolean; json?: boolean }>()
      await ask(await network(), masterAddress(options), adminConfirmRestore, {
        anyway: options.anyway === true,
      })
      if (options.json === true) printJson({ confirmed: true })
      else print('Confirmed: what nobody refers to may be removed from now on.')
    })
}

function asJson(file: string | null, folder: string, restored: Restored): object {
  const { facts, done, problems, aside, inodes, blocks, nodes, sessionsEnded } = restored
  return {
    restored: done,
    backup: file,
    data: folder,
    taken: facts.taken === undefined ? null : timeOf(facts.taken),
    formatVersion: facts.version,
    cluster: facts.cluster.toString('hex'),
    incarnation: facts.incarnation,
    inodes,
    blocks,
    nodes,
    sessionsEnded,
    oldDatabase: aside ?? null,
    problems,
  }
}

function nodesAsJson(rebuilt: Rebuilt | undefined): object {
  if (rebuilt === undefined) return {}
  const { baseFrom, baseBytes, records, recordBytes, remarks } = rebuilt
  return { fromNodes: { baseFrom, baseBytes, records, recordBytes, remarks } }
}

function showRebuilt(rebuilt: Rebuilt | undefined): void {
  if (rebuilt === undefined) return
  const { baseFrom, baseBytes, records, recordBytes, remarks, time } = rebuilt
  for (const remark of remarks) print(remark)
  print(
    `A copy of ${bytes(baseBytes)} from ${baseFrom} and ${String(records)} records (${bytes(recordBytes)}): ` +
      `the database as of ${timeOf(time)}.`,
  )
}

function show(file: string, folder: string, restored: Restored): void {
  const { facts, done, problems, aside, inodes, blocks, nodes, sessionsEnded } = restored
  for (const problem of problems) print(problem)
  const taken = facts.taken === undefined ? 'of unknown time' : `of ${timeOf(facts.taken)}`
  if (!done) {
    print(
      restored.damaged
        ? `${file}, ${taken}, is damaged: nothing was changed.`
        : `${file}, ${taken}, has problems: nothing was changed. Restore another one, or this one with --force.`,
    )
    return
  }
  print(
    `Restored ${file}, ${taken}: ${String(inodes)} inodes, ${String(blocks)} blocks, ${String(nodes)} chunkservers.`,
  )
  if (aside !== undefined) print(`What was there is ${aside}`)
  if (sessionsEnded > 0)
    print(
      `${String(sessionsEnded)} mounts of then begin anew when they reach the master; what they had not stored is lost.`,
    )
  print('')
  print('Now start the master. Nothing is removed from the chunkservers until you have seen')
  print('  cairn restore status --master HOST:PORT')
  print('and said')
  print('  cairn restore confirm --master HOST:PORT')
  print(`(data folder ${folder})`)
}

function statusAsJson(status: RestoreStatusReply): object {
  const time = (ns: bigint): string | null => (ns === 0n ? null : timeOf(ns))
  return {
    pending: status.pending,
    byHand: status.byHand,
    taken: time(status.taken),
    restored: time(status.restored),
    confirmed: time(status.confirmed),
    unverified: status.unverified,
    surplus: { blocks: status.surplusBlocks, bytes: status.surplusBytes, byNode: status.surplus },
    missing: {
      blocks: status.missingBlocks,
      bytes: status.missingBytes,
      files: status.files.map(file => Buffer.from(file).toString('utf8')),
      moreFiles: status.moreFiles,
    },
  }
}

function showStatus(status: RestoreStatusReply): void {
  if (status.restored === 0n) {
    print('This cluster was never restored from a backup.')
    return
  }
  print(
    status.byHand
      ? `Found at ${timeOf(status.restored)} that the database is of about ${timeOf(status.taken)}: an older file was put in its place`
      : `Restored at ${timeOf(status.restored)} from a backup of ${timeOf(status.taken)}`,
  )
  print(status.pending ? 'Not confirmed: nothing is removed.' : `Confirmed at ${timeOf(status.confirmed)}.`)
  for (const { node, address } of status.unverified)
    print(
      `Chunkserver ${node.toString()} (${address}) has not yet said all that it has: the figures below may change`,
    )
  print(
    `Missing  ${status.missingBlocks.toString()} blocks (${bytes(status.missingBytes)}) of files have no copy anywhere`,
  )
  for (const file of status.files) print(`         ${Buffer.from(file).toString('utf8')}`)
  if (status.moreFiles) print('         …')
  print(
    `Surplus  ${status.surplusBlocks.toString()} blocks (${bytes(status.surplusBytes)}) on the chunkservers belong to no file here`,
  )
  for (const { node, blocks, bytes: size } of status.surplus)
    print(`         ${blocks.toString()} (${bytes(size)}) on chunkserver ${node.toString()}`)
}
