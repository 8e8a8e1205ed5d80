import { type Command, InvalidArgumentError } from 'commander'
import type { LogLevel } from '../../service/log.ts'
import { withDaemonOptions } from '../daemon-options.ts'
import { byteCount } from '../output.ts'

interface Options {
  readonly data: string
  readonly master: string
  readonly listen: string
  readonly zone: string
  readonly capacity?: number
  readonly shortCircuit: boolean
  readonly logLevel: LogLevel
  readonly lifeline?: boolean
}

export function registerChunkserver(program: Command): void {
  withDaemonOptions(program.command('chunkserver'))
    .description('run a storage node: one per disk')
    .requiredOption('--data <dir>', 'folder of its blocks, on the disk that it is to use')
    .requiredOption('--master <host:port>', 'address of the master')
    .requiredOption('--listen <host:port>', 'address to serve; mounts and other nodes must reach it')
    .option('--zone <zone>', 'failure domain: copies of a block go to different ones', 'default')
    .option(
      '--capacity <bytes>',
      'most that its blocks may take, such as 500GiB (default: the disk)',
      capacity,
    )
    .option('--no-short-circuit', 'do not tell mounts on this machine where the files of blocks are')
    .action(async (options: Options) => {
      const [{ runAsDaemon }, { startChunkserver }] = await Promise.all([
        import('../daemons/daemon.ts'),
        import('../daemons/chunkserver.ts'),
      ])
      await runAsDaemon('chunkserver', options, world => startChunkserver(world, options))
    })
}

function capacity(text: string): number {
  const parsed = byteCount.safeParse(text)
  if (!parsed.success) throw new InvalidArgumentError(parsed.error.issues[0]?.message ?? '')
  return parsed.data
}
