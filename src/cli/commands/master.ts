import { type Command, InvalidArgumentError, Option } from 'commander'
import {
  blockBytesDefault,
  blockBytesMax,
  blockBytesMin,
  copiesDefault,
  copiesMax,
  leaseMs,
  leaseMsMax,
  leaseMsMin,
} from '../../core/limits.ts'
import { second } from '../../core/units.ts'
import type { LogLevel } from '../../service/log.ts'
import { byteCount } from '../output.ts'
import { withDaemonOptions } from '../daemon-options.ts'

interface Options {
  readonly data: string
  readonly listen: string
  readonly copies?: number
  readonly blockSize?: number
  readonly leaseTime?: number
  readonly logLevel: LogLevel
  readonly lifeline?: boolean
}

export function registerMaster(
  program: Command,
  wholeNumber: (name: string, min: number, max: number) => (text: string) => number,
): void {
  withDaemonOptions(program.command('master'))
    .description('run the master of a cluster')
    .requiredOption('--data <dir>', 'folder of its database; a new cluster is made in an empty one')
    .requiredOption('--listen <host:port>', 'address to serve')
    .option(
      '--copies <n>',
      `copies of every block, where nothing else is set (for a new cluster; default ${String(copiesDefault)})`,
      wholeNumber('--copies', 1, copiesMax),
    )
    .option(
      '--block-size <bytes>',
      `largest block, a power of two (for a new cluster; default ${String(blockBytesDefault)})`,
      blockSize,
    )
    .addOption(leaseTimeOption(wholeNumber))
    .action(async (options: Options) => {
      const [{ runAsDaemon }, { startMaster }] = await Promise.all([
        import('../daemons/daemon.ts'),
        import('../daemons/master.ts'),
      ])
      await runAsDaemon('master', options, world => startMaster(world, options))
    })
}

export function leaseTimeOption(
  wholeNumber: (name: string, min: number, max: number) => (text: string) => number,
): Option {
  const [least, most, usual] = [leaseMsMin, leaseMsMax, leaseMs].map(ms => ms / second) as [
    number,
    number,
    number,
  ]
  return new Option(
    '--lease-time <seconds>',
    `a mount silent for so long has lost its leases and locks: ${String(least)} to ${String(most)} (default ${String(usual)})`,
  ).argParser(wholeNumber('--lease-time', least, most))
}

function blockSize(text: string): number {
  const parsed = byteCount.safeParse(text)
  const bytes = parsed.success ? parsed.data : 0
  if (bytes < blockBytesMin || bytes > blockBytesMax || (bytes & (bytes - 1)) !== 0)
    throw new InvalidArgumentError(
      `must be a power of two from ${String(blockBytesMin)} to ${String(blockBytesMax)}.`,
    )
  return bytes
}
