#!/usr/bin/env -S node --single-threaded-gc --max-semi-space-size=4 --heap-growing-percent=200
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { FsError, messageOf, NotStoredError, UsageError } from '../core/errors.ts'
import type { Network } from '../core/network.ts'
import { version } from '../service/version.ts'
import { chosenIdentity, type ClusterOptions } from './cluster-address.ts'
import { registerBackup } from './commands/backup.ts'
import { registerBench } from './commands/bench.ts'
import { registerChunkserver } from './commands/chunkserver.ts'
import { registerCluster } from './commands/cluster.ts'
import { registerCompletion } from './commands/completion.ts'
import { registerConfig } from './commands/config.ts'
import { registerConsole } from './commands/console.ts'
import { registerCopies } from './commands/copies.ts'
import { registerDamaged } from './commands/damaged.ts'
import { registerDoctor } from './commands/doctor.ts'
import { registerDown } from './commands/down.ts'
import { registerExport } from './commands/export.ts'
import { registerFsck } from './commands/fsck.ts'
import { registerGc } from './commands/gc.ts'
import { registerHealth } from './commands/health.ts'
import { registerIdentity } from './commands/identity.ts'
import { registerInfo } from './commands/info.ts'
import { registerLease } from './commands/lease.ts'
import { registerLocate } from './commands/locate.ts'
import { registerLock } from './commands/lock.ts'
import { registerMaster } from './commands/master.ts'
import { registerMount } from './commands/mount.ts'
import { registerNode } from './commands/node.ts'
import { registerRebalance } from './commands/rebalance.ts'
import { registerRepair } from './commands/repair.ts'
import { registerRestore } from './commands/restore.ts'
import { registerScrub } from './commands/scrub.ts'
import { registerStatus } from './commands/status.ts'
import { registerSync } from './commands/sync.ts'
import { registerTop } from './commands/top.ts'
import { registerUmount } from './commands/umount.ts'
import { registerUp } from './commands/up.ts'
import { registerVersion } from './commands/version.ts'
import { registerWarmup } from './commands/warmup.ts'
import { examplesText } from './help/examples.ts'

/** Exit codes: 0 well, 1 the answer is bad news (damage, degraded), 2 it could not be done; 3 of health alone: down. */
const exitFailure = 2
const exitBadNews = 1

/** A commander argument parser for whole numbers within bounds. */
const wholeNumber =
  (name: string, min: number, max: number) =>
  (text: string): number => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
    if (!(value >= min && value <= max))
      throw new InvalidArgumentError(`${name} must be a whole number from ${String(min)} to ${String(max)}.`)
    return value
  }

/** How the command that runs was told which cluster is meant. */
let asked: ClusterOptions = {}

/** gRPC is loaded only by the commands that talk to a cluster: the others start faster without. */
const network = async (): Promise<Network> => {
  const { commandNetwork } = await import('./command-network.ts')
  return commandNetwork(chosenIdentity(asked))
}

const program = new Command('cairn')
  .description('Cairn, a distributed file system')
  .version(version)
  .showHelpAfterError('(see cairn --help)')
  .showSuggestionAfterError()
  .exitOverride()
  .hook('preAction', (_program, command) => {
    // What mount ls is given, mount has an option for, too.
    asked = command.optsWithGlobals<ClusterOptions>()
  })

registerUp(program, wholeNumber)
registerDown(program)
registerMaster(program)
registerChunkserver(program)
registerMount(program, network)
registerConfig(program)
registerCompletion(program)
registerVersion(program)
registerUmount(program)
registerStatus(program, network)
registerHealth(program, network)
registerInfo(program, network, wholeNumber)
registerLocate(program, network, wholeNumber)
registerTop(program, network, wholeNumber)
registerCopies(program, network, wholeNumber)
registerSync(program)
registerWarmup(program, wholeNumber)
registerBench(program, wholeNumber)
registerFsck(program, network)
registerBackup(program, network)
registerRestore(program, network)
registerNode(program, network)
registerCluster(program, network, wholeNumber)
registerExport(program, network, wholeNumber)
registerIdentity(program, network)
registerConsole(program, network)
registerRepair(program, network)
registerRebalance(program, network)
registerScrub(program, network)
registerDamaged(program, network)
registerGc(program, network)
registerDoctor(program, network)
registerLock(program, network, wholeNumber)
registerLease(program, network, wholeNumber)

for (const command of program.commands) inherit(command, 'cairn')

/** Errors of commander become exceptions in every subcommand, so that exit codes are ours; and each has its examples. */
function inherit(command: Command, parent: string): void {
  const name = `${parent} ${command.name()}`
  command.exitOverride().showHelpAfterError(`(see ${name} --help)`).addHelpText('after', examplesText(name))
  for (const child of command.commands) inherit(child, name)
}

// Who reads our output may have seen enough (cairn status | head).
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : exitFailure
  else {
    const notStored = error instanceof NotStoredError
    const known = error instanceof UsageError || error instanceof FsError || notStored
    process.stderr.write(
      `cairn: ${known ? messageOf(error) : error instanceof Error ? (error.stack ?? '') : String(error)}\n`,
    )
    process.exitCode = notStored ? exitBadNews : exitFailure
  }
}
// Sockets that a failed call left half open must not keep a command alive; what was said must have left, which takes
// time where it goes into a pipe.
if (process.exitCode !== undefined && process.exitCode !== 0)
  process.stdout.write('', () => process.stderr.write('', () => process.exit()))
