import { type Command, InvalidArgumentError } from 'commander'
import {
  blockBytesDefault,
  blockBytesMax,
  blockBytesMin,
  copiesDefault,
  copiesMax,
} from '../../core/limits.ts'
import { day, hour, minute, second } from '../../core/units.ts'
import type { LogLevel } from '../../service/log.ts'
import { byteCount } from '../output.ts'
import { withDaemonOptions } from '../daemon-options.ts'

interface Options {
  readonly data: string
  readonly listen: string
  readonly copies?: number
  readonly blockSize?: number
  readonly backupEvery: number
  readonly backupKeep: { readonly hourly: number; readonly daily: number }
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
    .option(
      '--backup-every <time>',
      'copy the database into its folder this often, such as 30m, 1h or 1d; 0: never',
      duration,
      1 * hour,
    )
    .option(
      '--backup-keep <hours,days>',
      'keep the newest copies of so many hours, and of so many days',
      backupKeep,
      { hourly: 24, daily: 7 },
    )
    .action(async (options: Options) => {
      const [{ runAsDaemon }, { startMaster }] = await Promise.all([
        import('../daemons/daemon.ts'),
        import('../daemons/master.ts'),
      ])
      await runAsDaemon('master', options, world => startMaster(world, options))
    })
}

function duration(text: string): number {
  const [, number = '', unit = ''] = /^(\d+(?:\.\d+)?)(s|m|h|d)?$/.exec(text) ?? []
  const ms = Number(number) * (units[unit] ?? Number.NaN)
  if (number === '' || (unit === '' && Number(number) !== 0) || ms > 365 * day)
    throw new InvalidArgumentError('must be a time such as 30m, 1h or 1d, or 0.')
  return unit === '' ? 0 : ms
}

const units: Readonly<Record<string, number>> = { '': 1, s: second, m: minute, h: hour, d: day }

function backupKeep(text: string): { hourly: number; daily: number } {
  const [, hourly, daily] = /^(\d{1,4}),(\d{1,4})$/.exec(text) ?? []
  if (hourly === undefined || daily === undefined)
    throw new InvalidArgumentError('must be two numbers such as 24,7.')
  return { hourly: Number(hourly), daily: Number(daily) }
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
