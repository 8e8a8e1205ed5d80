import type { Command } from 'commander'
import { chunkserverDaemon } from '../config/daemons.ts'
import { type DaemonFlags, settingsOf, withDaemonOptions } from '../daemon-options.ts'

export function registerChunkserver(program: Command): void {
  withDaemonOptions(program.command('chunkserver'), chunkserverDaemon)
    .description('run a storage node: one per disk')
    .option('--disk <name>', 'which [disk.NAME] of the configuration file this one is')
    .action(async (flags: DaemonFlags & { readonly disk?: string }) => {
      const settings = settingsOf(chunkserverDaemon, flags, { section: flags.disk })
      const [{ runAsDaemon }, { startChunkserver }] = await Promise.all([
        import('../daemons/daemon.ts'),
        import('../daemons/chunkserver.ts'),
      ])
      await runAsDaemon('chunkserver', { ...settings, lifeline: flags.lifeline }, world =>
        startChunkserver(world, { ...settings, shortCircuit: settings.shortCircuit === 'on' }),
      )
    })
}
