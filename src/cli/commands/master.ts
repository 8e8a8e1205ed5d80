import { type Command, InvalidArgumentError } from 'commander'
import {
  blockBytesDefault,
  blockBytesMax,
  blockBytesMin,
  copiesDefault,
  copiesMax,
} from '../../core/limits.ts'
import type { LogLevel } from '../../service/log.ts'
import { byteCount } from '../output.ts'
import { withDaemonOptions } from '../daemon-options.ts'

interface Options {
  readonly data: string
  readonly listen: string
  readonly copies?: number
  readonly blockSize?: number
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
    .action(async (options: Options) => {
      const [{ runAsDaemon }, { startMaster }] = await Promise.all([
        import('../daemons/daemon.ts'),
        import('../daemons/master.ts'),
      ])
      await runAsDaemon('master', options, world => startMaster(world, options))
    })
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
