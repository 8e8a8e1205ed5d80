import type { Command } from 'commander'
import { MiB } from '../../core/units.ts'
import { chunkserverDaemon } from '../config/daemons.ts'
import { type DaemonFlags, settingsOf, withDaemonOptions } from '../daemon-options.ts'

/** Of objects, which many small messages leave. */
const grownBytes = 16 * MiB

export function registerChunkserver(program: Command): void {
  withDaemonOptions(program.command('chunkserver'), chunkserverDaemon)
    .description('run a storage node: one per disk')
    .option('--disk <name>', 'which [disk.NAME] of the configuration file this one is')
    .action(async (flags: DaemonFlags & { readonly disk?: string }) => {
      const settings = settingsOf(chunkserverDaemon, flags, { section: flags.disk })
      const [{ runAsDaemon }, { startChunkserver }, { collectGrown }] = await Promise.all([
        import('../daemons/daemon.ts'),
        import('../daemons/chunkserver.ts'),
        import('../../env/collect-grown.ts'),
      ])
      collectGrown(grownBytes)
      await runAsDaemon('chunkserver', { ...settings, lifeline: flags.lifeline }, world =>
        startChunkserver(world, { ...settings, shortCircuit: settings.shortCircuit === 'on' }),
      )
    })
}
